<?php
// The page of `make demo`: what the application sees of a request, a form, an upload, a stream.
// One file, no assets, nothing beyond what every PHP has.

function h(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE);
}

// A body that appears line by line: each flush is a record on its way while the script still runs.
if (isset($_GET['stream'])) {
    header('Content-Type: text/plain; charset=utf-8');
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
    $lines = max(1, min(50, (int) $_GET['stream']));
    for ($line = 1; $line <= $lines; $line++) {
        printf("line %d of %d at %s\n", $line, $lines, date('H:i:s'));
        flush();
        usleep(200000);
    }
    exit;
}

// An upload is answered with its digest, so that anyone can see that every byte arrived.
if (isset($_FILES['file'])) {
    header('Content-Type: text/plain; charset=utf-8');
    $file = $_FILES['file'];
    if ($file['error'] !== UPLOAD_ERR_OK) {
        http_response_code(400);
        echo "the upload failed with PHP's error {$file['error']}\n";
        exit;
    }
    printf(
        "name   %s\nbytes  %d\nsha256 %s\n",
        $file['name'],
        $file['size'],
        hash_file('sha256', $file['tmp_name'])
    );
    exit;
}

if (isset($_POST['message'])) {
    header('Content-Type: text/plain; charset=utf-8');
    printf("message %s\n", (string) $_POST['message']);
    exit;
}

// Any other body, sent raw, comes back as its digest too; the input is read in pieces.
if (in_array($_SERVER['REQUEST_METHOD'], ['POST', 'PUT'], true)) {
    header('Content-Type: text/plain; charset=utf-8');
    $digest = hash_init('sha256');
    $bytes = hash_update_stream($digest, fopen('php://input', 'rb'));
    printf("bytes  %d\nsha256 %s\n", $bytes, hash_final($digest));
    exit;
}

header('Content-Type: text/html; charset=utf-8');

$shown = [
    'REQUEST_METHOD', 'REQUEST_URI', 'QUERY_STRING', 'SERVER_PROTOCOL', 'SCRIPT_NAME', 'SCRIPT_FILENAME',
    'PATH_INFO', 'DOCUMENT_ROOT', 'REMOTE_ADDR', 'REMOTE_PORT', 'SERVER_NAME', 'SERVER_PORT', 'SERVER_SOFTWARE',
    'GATEWAY_INTERFACE',
];
$server = strtok((string) ($_SERVER['SERVER_SOFTWARE'] ?? ''), '/ ') ?: 'the web server';
$facts = ['PHP' => PHP_VERSION . ' (' . PHP_SAPI . ')', 'Worker' => 'process ' . getmypid()];
foreach ($shown as $name) {
    if (isset($_SERVER[$name])) {
        $facts[$name] = (string) $_SERVER[$name];
    }
}
foreach ($_SERVER as $name => $value) {
    if (str_starts_with((string) $name, 'HTTP_')) {
        $facts[$name] = (string) $value;
    }
}
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fcgate demo</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430 }
h1 { margin-bottom: 0 } h2 { margin-top: 2rem; font-size: 1.1rem }
table { border-collapse: collapse; width: 100%; font-size: .85rem }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem; border-bottom: 1px solid #dde3ea }
td { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
input, button { font: inherit; padding: .25rem .5rem }
</style>
</head>
<body>
<h1>PHP, served by a C web server</h1>
<p>This request went through <?= h($server) ?> and fcgate to php-fpm, on a connection that is kept for the next one.</p>

<h2>Send a form</h2>
<form method="post"><input name="message" value="Grüße, 世界" aria-label="Message"> <button>Send</button></form>

<h2>Upload a file</h2>
<form method="post" enctype="multipart/form-data">
<input type="file" name="file" aria-label="File"> <button>Upload</button>
</form>

<h2>Watch a stream</h2>
<p><a href="?stream=20">Twenty lines, five a second</a>: each comes as PHP writes it.</p>

<h2>What PHP sees</h2>
<table>
<?php foreach ($facts as $name => $value): ?>
<tr><th scope="row"><?= h($name) ?></th><td><?= h($value) ?></td></tr>
<?php endforeach ?>
</table>
</body>
</html>
