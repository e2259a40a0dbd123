//! Every directive of nginx's own fastcgi module, put through `sed s/fastcgi_/fcgate_/g`: it is taken, or refused
//! with the way out.

use fcgate_kit::Nginx;
use fcgate_kit::process::find_program;
use std::collections::BTreeSet;

/// Directives with a value that nginx itself takes, where they stand in a location; and what fcgate says of
/// it, or nothing.
const LINES: [(&str, &str); 55] = [
    ("fastcgi_bind 127.0.0.2", ""),
    ("fastcgi_bind 127.0.0.2 transparent", ""),
    ("fastcgi_bind $remote_addr transparent", ""),
    ("fastcgi_buffer_size 8k", ""),
    ("fastcgi_buffering off", ""),
    ("fastcgi_buffers 16 16k", ""),
    ("fastcgi_busy_buffers_size 16k", "fcgate_response_memory"),
    ("fastcgi_cache off", "keep fastcgi_pass for this location"),
    ("fastcgi_cache_background_update on", "proxy_cache"),
    ("fastcgi_cache_bypass $arg_x", "proxy_cache"),
    ("fastcgi_cache_key $uri", "proxy_cache"),
    ("fastcgi_cache_lock on", "proxy_cache"),
    ("fastcgi_cache_lock_age 5s", "proxy_cache"),
    ("fastcgi_cache_lock_timeout 5s", "proxy_cache"),
    ("fastcgi_cache_max_range_offset 1m", "proxy_cache"),
    ("fastcgi_cache_methods GET HEAD POST", "proxy_cache"),
    ("fastcgi_cache_min_uses 2", "proxy_cache"),
    ("fastcgi_cache_path {directory}/cache levels=1:2 keys_zone=one:10m", "proxy_cache"),
    ("fastcgi_cache_revalidate on", "proxy_cache"),
    ("fastcgi_cache_use_stale error timeout", "proxy_cache"),
    ("fastcgi_cache_valid 200 302 10m", "proxy_cache"),
    ("fastcgi_catch_stderr \"PHP Fatal error\"", ""),
    ("fastcgi_connect_timeout 60", ""),
    ("fastcgi_force_ranges on", ""),
    ("fastcgi_hide_header X-Powered-By", ""),
    ("fastcgi_ignore_client_abort on", ""),
    ("fastcgi_ignore_headers Cache-Control Expires Set-Cookie X-Accel-Redirect", ""),
    ("fastcgi_index index.php", ""),
    ("fastcgi_intercept_errors on", ""),
    ("fastcgi_keep_conn on", ""),
    ("fastcgi_limit_rate 10k", "nginx's own limit_rate"),
    ("fastcgi_max_temp_file_size 1024m", "fcgate_response_body spool and fcgate_response_file"),
    ("fastcgi_next_upstream error timeout invalid_header non_idempotent", ""),
    ("fastcgi_next_upstream off", ""),
    ("fastcgi_next_upstream http_503", "never asked for again"),
    ("fastcgi_next_upstream_timeout 10s", ""),
    ("fastcgi_next_upstream_tries 3", ""),
    ("fastcgi_no_cache $arg_x", "proxy_cache"),
    ("fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name if_not_empty", ""),
    ("fastcgi_param PATH_INFO $fastcgi_path_info", ""),
    ("fastcgi_pass_header X-Accel-Expires", ""),
    ("fastcgi_pass_request_body off", ""),
    ("fastcgi_pass_request_headers off", ""),
    ("fastcgi_read_timeout 300s", ""),
    ("fastcgi_request_buffering off", ""),
    ("fastcgi_send_lowat 0", "passes it over on Linux"),
    ("fastcgi_send_timeout 1m", ""),
    ("fastcgi_socket_keepalive on", ""),
    ("fastcgi_split_path_info ^(.+?\\.php)(/.*)$", ""),
    ("fastcgi_store on", "keep fastcgi_pass for this location"),
    ("fastcgi_store_access user:rw", "keep fastcgi_pass for this location"),
    ("fastcgi_temp_file_write_size 16k", "fcgate_response_memory"),
    ("fastcgi_temp_path {directory}/spool 1 2", "fcgate_response_file"),
    ("fastcgi_pass unix:/run/other.sock", ""),
    ("fastcgi_pass 127.0.0.1:9000", ""),
];

/// Words of nginx's program that begin as directives do and are none.
const NO_DIRECTIVES: [&str; 4] =
    ["fastcgi_hide_headers_hash", "fastcgi_params_hash", "fastcgi_path_info", "fastcgi_script_name"];

fn name(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

/// A location with this line, beside a pass where the line itself is none.
fn check(line: &str, pass: &str) -> (bool, String) {
    let beside = if name(line).ends_with("_pass") { "" } else { pass };
    // Some stand in http only.
    if name(line).ends_with("_cache_path") {
        return Nginx::builder().http(format!("{line};")).check();
    }
    Nginx::builder().server(format!("location / {{ {line}; {beside} }}")).check()
}

/// The table has every directive that this nginx knows.
#[test]
fn every_directive_of_nginx_is_in_the_table() {
    let program = std::fs::read(find_program("nginx").unwrap()).unwrap();
    let known: BTreeSet<&str> = program
        .split(|byte| *byte == 0)
        .filter_map(|word| std::str::from_utf8(word).ok())
        .filter(|word| {
            word.starts_with("fastcgi_") && word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
        })
        .filter(|word| !NO_DIRECTIVES.contains(word))
        .collect();
    assert!(known.len() >= 45, "{known:?}");
    let tried: BTreeSet<&str> = LINES.iter().map(|(line, _)| name(line)).collect();
    assert_eq!(known.difference(&tried).collect::<Vec<_>>(), Vec::<&&str>::new());
}

/// Each line is right for nginx, and is taken here, or refused at its place with the way out.
#[test]
fn every_directive_is_taken_or_refused_with_the_way_out() {
    for (line, words) in LINES {
        let (right, said) = check(line, "fastcgi_pass unix:/run/a.sock;");
        assert!(right, "the table is wrong: {line}\n{said}");
        let own = line.replace("fastcgi_", "fcgate_");
        let (right, said) = check(&own, "fcgate_pass unix:/run/a.sock;");
        assert_eq!(right, words.is_empty(), "{own}\n{said}");
        assert!(said.contains(words) && (right || said.contains(name(&own))), "{own}\n{said}");
        assert!(right || said.contains("nginx.conf:"), "{own}\n{said}");
    }
}
