//! The configuration of ngx_http_fcgate_module: what nginx says of a wrong line, what a change-over from
//! nginx's own directives takes, and what operators see; the whole example is in servers/.

use fcgate::protocol::ProtocolStatus;
use fcgate_kit::{Application, Nginx, PhpFpm, Reply, Request};

/// What `nginx -t` says of these lines of `http`, which are wrong.
fn refused(lines: &str) -> String {
    let (right, said) = Nginx::builder().http(lines).check();
    assert!(!right, "was taken: {lines}\n{said}");
    said
}

/// The line at which the lines of `http` begin: where nginx finds one that is wrong for sure.
fn first_line() -> usize {
    let said = refused("no_such_directive;");
    let number = said.split("nginx.conf:").nth(1).unwrap();
    number[..number.find(|byte: char| !byte.is_ascii_digit()).unwrap()].parse().unwrap()
}

/// S10: what is wrong is said when the configuration is read, with file, line and the nearest name.
#[test]
fn wrong_lines_are_named() {
    let balancer = |line: &str| format!("fcgate_balancer php {{\npool unix:/run/a.sock;\n{line}\n}}");
    let location =
        |line: &str| format!("fcgate_pool php unix:/run/a.sock;\nserver {{\nlocation / {{\n{line}\n}}\n}}");
    let first = first_line();
    for (lines, wrong, words) in [
        ("fcgate_head_timeut 5s;".into(), "fcgate", "unknown directive \"fcgate_head_timeut\""),
        ("fcgate_head_timeut 5s;".into(), "fcgate", "did you mean \"fcgate_head_timeout\"?"),
        ("fcgate_balancr php { }".into(), "fcgate", "did you mean \"fcgate_balancer\"?"),
        (location("fcgate_parm A b;"), "fcgate_parm", "did you mean \"fcgate_param\"?"),
        (
            "fcgate_balancer php unix:/run/a.sock;".into(),
            "fcgate",
            "a line of its own: fcgate_pool php unix:/run/a.sock;",
        ),
        (balancer("pol unix:/run/b.sock;"), "pol ", "did you mean \"pool\"?"),
        (balancer("restart_windo 5s;"), "restart", "did you mean \"restart_window\"?"),
        (balancer("colour red;"), "colour", "unknown word \"colour\" in fcgate_balancer"),
        (
            balancer("pool unix:/run/b.sock max_conections=4;"),
            "pool unix:/run/b",
            "did you mean max_connections?",
        ),
        (balancer("pool unix:/run/b.sock weight=many;"), "pool unix:/run/b", "weight"),
        (balancer("pool unix:/run/a.sock;"), "pool unix:/run/a.sock;\n}", "twice"),
        (balancer("queue lenght=4;"), "queue", "queue_length"),
        (balancer("param CONTENT_LENGTH 5;"), "param", "fcgate sets it itself"),
        (balancer("param A $b;"), "param", "a param of a balancer has no variables"),
        ("fcgate_balancer php {\n}".into(), "}", "fcgate_balancer php has no pool"),
        ("fcgate_pool php /run/a.sock;".into(), "fcgate", "unix:/run/a.sock"),
        ("fcgate_pool php:x unix:/run/a.sock;".into(), "fcgate", "a name is 1 to 128 letters"),
        (format!("{0}\n{0}", balancer("")), "fcgate", "declared twice"),
        (
            location("fcgate_pass pph;"),
            "fcgate_pass",
            "no balancer \"pph\" is declared; did you mean \"php\"?",
        ),
        (location("fcgate_pass other;"), "fcgate_pass", "an address has a colon"),
        (location("fcgate_pass /run/a.sock;"), "fcgate_pass", "unix:/run/a.sock"),
        (location("fcgate_pass php;\nfcgate_pass php;"), "fcgate_pass php;\n}", "is duplicate"),
        (location("fcgate_pass php;\nfcgate_keep_conn on;"), "fcgate_pass", "fcgate_balancer block"),
        (location("fcgate_head_timeout 5x;"), "fcgate_head", "head_timeout=5x"),
        (location("fcgate_preset perl;"), "fcgate_preset", "preset=perl"),
        (location("fcgate_method round_robin;"), "fcgate_method", "belongs into a fcgate_balancer block"),
        (location("fcgate_weight 2;"), "fcgate_weight", "it stands on a pool's line"),
        (location("fcgate_connect_timeout 5x;"), "fcgate_connect", "connect_timeout=5x"),
        (location("fcgate_document_root /srv;"), "fcgate_document", "root and alias"),
        (location("fcgate_request_memory 1m;"), "fcgate_request", "client_body_buffer_size"),
        (location("fcgate_param GATEWAY_INTERFACE CGI/2;"), "fcgate_param", "fcgate sets it itself"),
        (location("fcgate_param A b c;"), "fcgate_param", "takes if_not_empty or nothing"),
        (location("fcgate_param_unset CONTENT_LENGTH;"), "fcgate_param", "fcgate sets it itself"),
        (location("fcgate_share 25%;"), "fcgate_share", "later version"),
        (balancer("check ping;"), "check", "later version"),
        (balancer("method busyness;"), "method", "later version"),
        (location("fcgate_buffers 8 none;"), "fcgate_buffers", "takes a number and a size"),
        (location("fcgate_split_path_info (;"), "fcgate_split", "missing"),
        (location("fcgate_split_path_info ^(.*)$;"), "fcgate_split", "two groups"),
        (location("fcgate_log_stderr loud;"), "fcgate_log", "takes a level of error_log"),
        (location("fcgate_next_upstream http_503;"), "fcgate_next", "never asked for again"),
        (location("fcgate_cache zone;"), "fcgate_cache", "keep fastcgi_pass for this location"),
        (location("fcgate_no_cache $arg_x;"), "fcgate_no_cache", "proxy_cache"),
        (location("fcgate_store on;"), "fcgate_store", "stores no responses"),
        (location("fcgate_limit_rate 5k;"), "fcgate_limit", "nginx's own limit_rate"),
        (location("fcgate_bind localhost;"), "fcgate_bind", "an IP address of this machine"),
        (location("fcgate_bind 127.0.0.1;\nfcgate_bind off;"), "fcgate_bind off", "is duplicate"),
        (location("fcgate_bind 127.0.0.1 opaque;"), "fcgate_bind", "takes transparent or nothing"),
        (location("fcgate_socket_keepalive maybe;"), "fcgate_socket", "tcp_keepalive=maybe"),
        (location("fcgate_next_upstream off error;"), "fcgate_next", "takes off alone"),
        (location("fcgate_next_upstream_tries many;"), "fcgate_next", "max_tries=many"),
        (location("fcgate_next_upstream_timeout 5x;"), "fcgate_next", "retry_timeout=5x"),
        (location("fcgate_status;\nfcgate_pass php;"), "fcgate_pass", "stands beside a fcgate_status"),
        (location("fcgate_pass php;\nfcgate_status;"), "fcgate_status", "stands beside a fcgate_pass"),
        ("fcgate_zone 1m;".into(), "fcgate", "later version"),
        (location("fcgate_max_temp_file_size 1m;"), "fcgate_max_temp", "fcgate_response_memory"),
    ] {
        let said = refused(&lines);
        assert!(said.contains(words), "{lines}\n{said}");
        // Of two equal lines it is the second.
        let at = if words == "declared twice" { lines.rfind(wrong) } else { lines.find(wrong) };
        let number = first + lines[..at.unwrap()].matches('\n').count();
        let places = [';', '\n'].map(|end| format!("nginx.conf:{number}{end}"));
        assert!(places.iter().any(|place| said.contains(place)), "{lines}\nline {number}:\n{said}");
    }
}

/// Where only an `upstream` has the name, the lines to write are told.
#[test]
fn an_upstream_is_told_as_a_balancer() {
    let said = refused(
        "upstream php { server unix:/run/php.sock weight=3; server 127.0.0.1:9001 backup; }\n\
         server { location / { fcgate_pass php; } }",
    );
    let lines = "fcgate_balancer php { pool unix:/run/php.sock weight=3; pool 127.0.0.1:9001 backup; }";
    assert!(said.contains(lines), "{said}");
}

/// The pieces of configuration in README and docs are right, and so are the examples of Debian's
/// fcgate.conf.
#[test]
fn the_configurations_of_the_docs_load() {
    let pages =
        [include_str!("../README.md"), include_str!("../docs/nginx.md"), include_str!("../docs/servers.md")];
    let pieces: Vec<&str> = pages
        .iter()
        .flat_map(|page| page.split("```nginx\n").skip(1).map(|piece| piece.split("```").next().unwrap()))
        .collect();
    assert_eq!(pieces.len(), 6);
    for piece in pieces {
        let of_http = piece.starts_with("fcgate_balancer");
        let nginx = if of_http { Nginx::builder().http(piece) } else { Nginx::builder().server(piece) };
        let (right, said) = nginx.check();
        assert!(right, "{piece}{said}");
    }
    let conf = include_str!("../modules/nginx/fcgate.conf");
    let is_example = |line: &&str| {
        ["fcgate_", "    ", "}"].iter().any(|begin| line.starts_with(begin)) && !line.contains("location")
    };
    let examples: Vec<&str> =
        conf.lines().filter_map(|line| line.strip_prefix('#')).filter(is_example).collect();
    assert!(examples.len() > 8, "{examples:?}");
    for lines in [conf, &examples.join("\n")] {
        let (right, said) = Nginx::builder().http(lines).check();
        assert!(right, "{lines}\n{said}");
    }
}

/// Debian's own snippets and a location of nginx's own directives, put through sed, load and serve.
#[test]
fn fastcgi_directives_put_through_sed_serve() {
    let php = PhpFpm::unix().start();
    let changed = |name: &str| {
        let path = format!("/etc/nginx/{name}");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        text.replace("fastcgi_", "fcgate_").replace("include fastcgi.conf", "include {directory}/fcgate.conf")
    };
    let location = "
        location ~ [^/]\\.php(/|$) {
            include {directory}/snippet.conf;
            fastcgi_pass PHP;
            fastcgi_keep_conn on;
            fastcgi_connect_timeout 5s;
            fastcgi_send_timeout 60s;
            fastcgi_read_timeout 300s;
            fastcgi_buffering on;
            fastcgi_buffer_size 32k;
            fastcgi_buffers 16 16k;
            fastcgi_request_buffering on;
            fastcgi_intercept_errors on;
            fastcgi_ignore_client_abort off;
            fastcgi_next_upstream error timeout;
            fastcgi_hide_header X-Powered-By;
            fastcgi_catch_stderr \"PHP Fatal error\";
        }
        location = /plain.php {
            include {directory}/fcgate_params;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            fastcgi_param PHP_ADMIN_VALUE \"memory_limit=77M\";
            fastcgi_index index.php;
            fastcgi_pass PHP;
        }"
    .replace("fastcgi_", "fcgate_")
    .replace("PHP;", &format!("{};", php.address()));
    let builder = Nginx::builder()
        .server("index index.php;\nserver_name _;")
        .server(location)
        .file("dump.php", "<?php foreach ($_SERVER as $n => $v) if (is_string($v)) echo \"$n=$v\\n\"; echo 'BODY=', strlen(file_get_contents('php://input'));")
        .file("plain.php", "<?php echo ini_get('memory_limit'), ' ', $_SERVER['SERVER_NAME'], ' ', $_SERVER['CONTENT_LENGTH'] ?? 'none';");
    let path = builder.directory().path().display().to_string();
    for (name, from) in [
        ("snippet.conf", "snippets/fastcgi-php.conf"),
        ("fcgate.conf", "fastcgi.conf"),
        ("fcgate_params", "fastcgi_params"),
    ] {
        builder.directory().write(name, changed(from).replace("{directory}", &path));
    }
    let nginx = builder.start();
    let mut client = nginx.client();
    let page = client.send(&Request::post("/dump.php/some/info?a=b", "a body")).expect(200);
    let text = page.text();
    for line in [
        "SCRIPT_NAME=/dump.php\n",
        "PATH_INFO=/some/info\n",
        "REQUEST_URI=/dump.php/some/info?a=b\n",
        "CONTENT_LENGTH=6\n",
        "GATEWAY_INTERFACE=CGI/1.1\n",
        "BODY=6",
        &format!("SCRIPT_FILENAME={path}/root/dump.php\n"),
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(page.field("X-Powered-By"), None);
    assert!(client.get("/plain.php").expect(200).text().starts_with("77M "));
    client.get("/missing.php").expect(404);
    client.get("/robots.txt/missing.php").expect(404);
}

/// What operators see: what a log can show of each request, also after an internal redirect.
#[test]
fn logs_show_requests() {
    let application = Application::unix()
        .on_request(|request| match request.param("QUERY_STRING") {
            Some("fail") => Reply::new().close().to(request),
            _ => Reply::new()
                .stdout("Status: 201\r\n\r\nbody")
                .end_stdout()
                .end_with(3, ProtocolStatus::RequestComplete)
                .to(request),
        })
        .start();
    let address = application.address();
    let format = [
        "pool",
        "status",
        "queue_time",
        "connect_time",
        "header_time",
        "response_time",
        "retries",
        "error",
        "app_status",
        "bytes_received",
    ]
    .map(|name| format!("{name}=$fcgate_{name}"))
    .join(" ");
    let nginx = Nginx::builder()
        .http(format!("fcgate_pool php {address} max_connections=2;"))
        .http(format!("log_format told '$request_uri $status {format} end';"))
        .server("access_log {directory}/told.log told;\nerror_page 502 /ours;\nlocation /ours { return 502 ours; }")
        .server("location /app { fcgate_preset plain; fcgate_pass php; }")
        .start();
    let mut client = nginx.client();
    client.get("/app").expect(201);
    client.get("/app?fail").expect(502);
    client.get("/robots.txt").expect(200);
    let path = nginx.directory().join("told.log");
    let read = || std::fs::read_to_string(&path).unwrap();
    nginx.wait_until("all are logged", |_| read().lines().count() >= 3);
    let log = read();
    let line = |start: &str| {
        log.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {log}"))
    };
    let good = line("/app 201");
    assert!(good.contains(&format!("pool={address} status=201 queue_time=0.000 connect_time=0.")), "{good}");
    assert!(good.contains("retries=0 error=- app_status=3 bytes_received=4 end"), "{good}");
    let bad = line("/app?fail 502");
    assert!(
        bad.contains(&format!("pool={address} status=- ")) && bad.contains("error=closed app_status=-"),
        "{bad}"
    );
    assert!(line("/robots.txt 200").contains("pool=- status=- queue_time=-"));
}
