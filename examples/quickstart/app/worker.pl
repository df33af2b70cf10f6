#!/usr/bin/env perl
# Adds one to the store's count, once a second.
use strict;
use warnings;
use Sys::Hostname;

$| = 1;
$SIG{TERM} = sub { print "worker: stopping\n"; exit 0 };
my $name = hostname();
while (1) {
    chomp(my $count = `perl /app/ask.pl $ENV{STORE} 'ADD count 1' 2>&1`);
    print "worker $name: count is $count\n";
    sleep 1;
}
