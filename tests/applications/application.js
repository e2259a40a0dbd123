// What tests/applications.rs asks of every runtime, by `do` of the query: node-fastcgi.
const crypto = require('crypto');
const fcgi = require('node-fastcgi');

function answer(request, response) {
    const { params } = request.socket;
    const query = new URLSearchParams(params.QUERY_STRING);
    response.setHeader('X-Application', 'node-fastcgi');
    response.setHeader('Content-Type', 'text/plain');
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
        const body = Buffer.concat(pieces);
        switch (query.get('do')) {
        case 'params':
            for (const name of ['REQUEST_METHOD', 'QUERY_STRING', 'SCRIPT_NAME', 'PATH_INFO', 'CONTENT_LENGTH', 'HTTP_X_WORD']) {
                response.write(`${name}=${params[name] ?? ''}\n`);
            }
            response.end();
            break;
        case 'echo':
            response.setHeader('X-Digest', crypto.createHash('sha256').update(body).digest('hex'));
            response.end(body);
            break;
        case 'large':
            response.end('0123456789abcdef'.repeat(65536));
            break;
        case 'missing':
            response.statusCode = 404;
            response.end('not here');
            break;
        case 'moved':
            response.statusCode = 302;
            response.setHeader('Location', 'https://example.net/elsewhere');
            response.end();
            break;
        case 'log':
            request.socket.errorStream.write('a line for the log\n');
            response.end('logged');
        }
    });
}

fcgi.createServer(answer).listen(process.argv[2]);
