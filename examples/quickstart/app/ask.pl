#!/usr/bin/env perl
# ask.pl HOST:PORT COMMAND: sends one command to the store and prints the answer; exit status 1 where it fails.
use strict;
use warnings;
use IO::Socket::INET;

my ($address, $command) = @ARGV;
my $token = '';
if (open my $file, '<', '/run/secrets/store_token') { chomp($token = <$file> // ''); }
my $socket = IO::Socket::INET->new(PeerAddr => $address, Timeout => 5) or die "cannot reach $address: $@\n";
print $socket "$token $command\n";
my $answer = <$socket> // '';
print $answer;
exit($answer =~ /^error/ || $answer eq '' ? 1 : 0);
