#!/usr/bin/env perl
# Answers each HTTP request with the greeting and the store's count.
use strict;
use warnings;
use IO::Socket::INET;
use Sys::Hostname;

$| = 1;
$SIG{TERM} = sub { print "web: stopping\n"; exit 0 };
my $server = IO::Socket::INET->new(LocalPort => 80, Listen => 64, ReuseAddr => 1) or die "web: cannot listen: $@\n";
print "web: listening on port 80\n";
while (my $client = $server->accept) {
    my $request = <$client> // '';
    while (defined(my $line = <$client>)) { last if $line =~ /^\r?\n$/ }
    chomp(my $count = `perl /app/ask.pl $ENV{STORE} 'GET count' 2>&1`);
    my $body = "$ENV{GREETING}\ncount: $count\nserved by: " . hostname() . "\n";
    print $client "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ", length $body, "\r\nConnection: close\r\n\r\n$body";
    close $client;
    print 'web: ', $request =~ s/\s+$//r, "\n" if $request ne ''; # the health check sends none
}
