<?php
// What tests/applications.rs asks of every runtime, by `do` of the query.
header('X-Application: php-fpm');
header('Content-Type: text/plain');
switch ($_GET['do']) {
    case 'params':
        $names = ['REQUEST_METHOD', 'QUERY_STRING', 'SCRIPT_NAME', 'PATH_INFO', 'CONTENT_LENGTH', 'HTTP_X_WORD'];
        foreach ($names as $name) {
            echo $name, '=', $_SERVER[$name] ?? '', "\n";
        }
        break;
    case 'echo':
        header('X-Digest: ' . hash('sha256', $body = file_get_contents('php://input')));
        echo $body;
        break;
    case 'large':
        echo str_repeat('0123456789abcdef', 65536);
        break;
    case 'missing':
        http_response_code(404);
        echo 'not here';
        break;
    case 'moved':
        header('Location: https://example.net/elsewhere', true, 302);
        break;
    case 'log':
        error_log('a line for the log');
        echo 'logged';
}
