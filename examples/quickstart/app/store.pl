#!/usr/bin/env perl
# The store: one line a request, `TOKEN GET NAME`, `TOKEN INIT NAME NUMBER` (keeps a number that is there) or
# `TOKEN ADD NAME NUMBER`.
use strict;
use warnings;
use IO::Socket::INET;

$| = 1;
$SIG{TERM} = sub { print "store: stopping\n"; exit 0 };
my $path = '/var/lib/store/numbers';
my %numbers;
if (open my $file, '<', $path) { while (<$file>) { chomp; my ($k, $v) = split / /; $numbers{$k} = $v; } }
open my $secret, '<', '/run/secrets/store_token' or die "store: no token: $!\n";
chomp(my $token = <$secret> // '');

sub save {
    open my $file, '>', "$path.new" or die "store: cannot write $path.new: $!\n";
    print $file "$_ $numbers{$_}\n" for sort keys %numbers;
    close $file;
    rename "$path.new", $path or die "store: cannot rename: $!\n";
}

my $server = IO::Socket::INET->new(LocalPort => 7000, Listen => 64, ReuseAddr => 1) or die "store: cannot listen: $@\n";
print "store: ready with ", scalar(keys %numbers), " numbers\n";
while (my $client = $server->accept) {
    my ($given, $verb, $name, $value) = split / /, (<$client> // '') =~ s/\s+$//r;
    if (!defined $verb) { print $client "error: no command\n" }
    elsif ($verb eq 'GET') { print $client ($numbers{$name // ''} // 0), "\n" }
    elsif (($given // '') ne $token) { print $client "error: wrong token\n" }
    elsif ($verb eq 'INIT') { $numbers{$name} //= $value; save(); print $client "$numbers{$name}\n" }
    elsif ($verb eq 'ADD') { $numbers{$name} += $value; save(); print $client "$numbers{$name}\n" }
    else { print $client "error: unknown command $verb\n" }
    close $client;
}
