# What tests/applications.rs asks of every runtime, by `do` of the query: Plack.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);

my @names = qw(REQUEST_METHOD QUERY_STRING SCRIPT_NAME PATH_INFO CONTENT_LENGTH HTTP_X_WORD);

sub {
    my $env = shift;
    my ($do) = $env->{QUERY_STRING} =~ /^do=(\w+)/;
    my @headers = ('X-Application' => 'plack', 'Content-Type' => 'text/plain');
    return [200, \@headers, [map { "$_=" . ($env->{$_} // '') . "\n" } @names]] if $do eq 'params';
    return [200, \@headers, ['0123456789abcdef' x 65536]] if $do eq 'large';
    return [404, \@headers, ['not here']] if $do eq 'missing';
    return [302, [@headers, Location => 'https://example.net/elsewhere'], []] if $do eq 'moved';
    if ($do eq 'log') {
        $env->{'psgi.errors'}->print("a line for the log\n");
        return [200, \@headers, ['logged']];
    }
    my ($body, $left) = ('', $env->{CONTENT_LENGTH} || 0);
    while ($left > 0 && (my $read = $env->{'psgi.input'}->read($body, $left, length $body))) {
        $left -= $read;
    }
    return [200, [@headers, 'X-Digest' => sha256_hex($body)], [$body]];
};
