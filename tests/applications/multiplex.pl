# As multiplex.go, on Net::Async::FastCGI.
use strict;
use warnings;
use IO::Async::Loop;
use IO::Socket::UNIX;
use Net::Async::FastCGI;
use Socket qw(SOCK_STREAM);

my $loop = IO::Async::Loop->new;

sub answer {
    my ($request, $query) = @_;
    if (defined $query->{wait} && !-e $query->{wait}) {
        $loop->watch_time(after => 0.01, code => sub { answer($request, $query) });
        return;
    }
    my $body = $request->read_stdin($request->param('CONTENT_LENGTH') || 0) // '';
    $request->print_stdout("Content-Type: text/plain\r\n\r\n$query->{n};" . 'x' x ($query->{large} // 0) . $body);
    $request->finish(0);
}

my $server = Net::Async::FastCGI->new(
    on_request => sub {
        my (undef, $request) = @_;
        $request->set_encoding(undef); # bytes
        answer($request, { map { split /=/ } split /&/, $request->query_string });
    },
);
$loop->add($server);
$server->listen(
    handle => IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => $ARGV[0], Listen => 64) // die "$ARGV[0]: $!",
)->get;
$loop->run;
