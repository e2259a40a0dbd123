//! The configuration of mod_fcgate: what lighttpd says of a wrong line; the whole example is in servers/.

use fcgate_kit::Lighttpd;

/// What `lighttpd -tt` says of these lines, which are wrong.
fn refused(lines: &str) -> String {
    let (right, said) = Lighttpd::builder().config(lines).check();
    assert!(!right, "was taken: {lines}");
    said
}

/// A balancer with these lines in it.
fn balancer(lines: &str) -> String {
    format!("fcgate.balancers = ( \"php\" => ( {lines} ) )")
}

/// S10: what is wrong is said when the configuration is read, by name, with its condition and the
/// nearest right name.
#[test]
fn wrong_lines_are_named() {
    for (lines, words) in [
        ("fcgate.head_timeut = \"5s\"", &["fcgate.head_timeut", "did you mean fcgate.head_timeout?"][..]),
        (
            "$HTTP[\"url\"] =^ \"/api\" { fcgate.head_timeut = \"5s\" }",
            &["fcgate.head_timeut in ", "/api", "did you mean fcgate.head_timeout?"],
        ),
        ("fcgate.balancer = ( \"php\" => \"a:1\" )", &["did you mean fcgate.balancers?"]),
        ("fcgate.params = ( \"A\" => \"b\" )", &["did you mean fcgate.param?"]),
        ("fcgate.colour = \"red\"", &["fcgate.colour is nothing that mod_fcgate knows"]),
        ("fcgate.head_timeout = \"soon\"", &["fcgate.head_timeout", "soon"]),
        ("fcgate.head_timeout = ( \"a\" )", &["fcgate.head_timeout takes one value and no list"]),
        (
            "fcgate.max_connections = 4",
            &["is a setting of pools", "\"max_connections\" => ... in fcgate.balancers"],
        ),
        ("fcgate.method = \"round_robin\"", &["is a setting of balancers"]),
        ("fcgate.document_root = \"/srv\"", &["server.document-root"]),
        ("fcgate.flush = \"soon\"", &["fcgate.flush", "soon"]),
        ("fcgate.map_root = \"/a /b\"", &["fcgate.map_root: write the directory here"]),
        ("fcgate.balancers = \"a:1\"", &["fcgate.balancers: write a list"]),
        ("fcgate.balancers = ( \"php\" => \"/run/a.sock\" )", &["\"php\"", "unix:/run/a.sock"]),
        ("fcgate.balancers = ( \"p:x\" => \"a:1\" )", &["a name is 1 to 128 letters"]),
        ("fcgate.balancers = ( \"php\" => \"a:1 weight=many\" )", &["weight", "many"]),
        (
            "$HTTP[\"url\"] == \"/\" { fcgate.balancers = ( \"php\" => \"a:1\" ) }",
            &["outside of all conditions"],
        ),
        (&balancer("\"weight\" => 2"), &["\"php\" has no \"pools\""]),
        (
            &balancer("\"pools\" => ( \"a:1\" => ( \"max_conections\" => 4 ) )"),
            &["did you mean max_connections?"],
        ),
        (&balancer("\"pools\" => ( \"a:1\" => () ), \"queue_lenght\" => 4"), &["did you mean queue_length?"]),
        (&balancer("\"pools\" => ( \"a:1\" => 4 )"), &["write the settings of a pool as a list"]),
        (&balancer("\"pools\" => \"a:1\""), &["\"pools\" is a list"]),
        (
            &balancer("\"host\" => \"10.0.0.2\", \"port\" => 9000"),
            &["\"host\" is no setting", "\"host:port\""],
        ),
        (
            &balancer("\"socket\" => \"/run/a.sock\""),
            &["\"socket\" is no setting", "\"unix:/path/of/the/socket\""],
        ),
        (&balancer("\"pools\" => ( ( \"socket\" => \"/run/a.sock\" ) )"), &["named by its address"]),
        (
            &balancer("\"pools\" => ( \"php\" => ( \"port\" => 9000 ) )"),
            &["\"port\" is no setting", "\"host:port\""],
        ),
        (
            &balancer("\"pools\" => ( \"a:1\" => () ), \"param\" => ( \"CONTENT_LENGTH\" => 5 )"),
            &["must match what is sent"],
        ),
        ("fcgate.map = ( \".php\" => \"php\" )", &["no balancer \"php\"", "declares none at all"]),
        (
            "fcgate.balancers = ( \"php\" => \"a:1\" )\nfcgate.map = ( \".php\" => \"pph\" )",
            &["no balancer \"pph\"", "did you mean php?"],
        ),
        (
            "fcgate.balancers = ( \"php\" => \"a:1\" )\nfcgate.map = ( \".php\" => \"unix:/run/a.sock\" )",
            &["an address can't stand here"],
        ),
        ("fcgate.map = ( \"php\" => \"php\" )", &["\"php\" is no extension"]),
        ("fcgate.map = \"php\"", &["fcgate.map: write a list"]),
        ("fcgate.status_url = \"status\"", &["fcgate.status_url: write the path", "\"/fcgate-status\""]),
        ("fcgate.status-url = \"/status\"", &["did you mean fcgate.status_url?"]),
        ("fcgate.param = ( \"GATEWAY_INTERFACE\" => \"x\" )", &["fcgate.param: ", "must match"]),
        ("fcgate.param_unset = ( \"A\" => \"b\" )", &["write a list of names"]),
        ("fcgate.param_unset = ( ( \"A\", \"if_not_empty\" ) )", &["fcgate.param_unset"]),
        (
            "fcgate.param = ( \"A\" => ( \"b\", \"if_empty\" ) )",
            &["\"A\" takes", "( \"value\", \"if_not_empty\" )"],
        ),
        ("fcgate.param = ( \"A\" => ( \"b\" => \"if_not_empty\" ) )", &["\"A\" takes"]),
        (
            "fcgate.log_stderr = \"warnin\"",
            &["fcgate.log_stderr", "\"warnin\" is no level", "did you mean warning?"],
        ),
        ("fcgate.log_stderr = ( \"off\" )", &["fcgate.log_stderr", "is no level"]),
        ("fcgate.script_exists = \"perhaps\"", &["fcgate.script_exists", "perhaps"]),
    ] {
        let said = refused(lines);
        for word in words {
            assert!(said.contains(word), "{lines}\n--- is told so, without \"{word}\":\n{said}");
        }
    }
    let said = refused("fcgate.one = 1\nfcgate.two = 2");
    assert!(said.contains("fcgate.one") && said.contains("fcgate.two"), "all at once: {said}");
}

/// A line whose engine part comes with a later version is an error that says so.
#[test]
fn lines_of_later_versions_are_refused_by_name() {
    for lines in [
        balancer("\"method\" => \"busyness\", \"pools\" => ( \"a:1\" => () )"),
        balancer("\"check\" => \"ping\", \"pools\" => ( \"a:1\" => () )"),
        balancer("\"pools\" => ( \"app2.example.net:9000\" => ( \"check\" => \"ping\" ) )"),
        balancer("\"pools\" => ( \"a:1\" => ( \"max_connections\" => \"auto\" ) )"),
        "fcgate.share = \"25%\"".into(),
        "fcgate.local_redirect = \"enable\"".into(),
    ] {
        let said = refused(&lines);
        assert!(said.contains("comes with a later version"), "{lines}: {said}");
    }
}

/// The file for Debian, as it is and with all its examples switched on.
#[test]
fn the_file_for_debian_loads() {
    let file = include_str!("../modules/lighttpd/15-fcgate.conf");
    let file = file.replace("server.modules += ( \"mod_fcgate\" )\n", "");
    let examples: Vec<&str> = file
        .lines()
        .filter(|line| !line.starts_with("# ") || line.starts_with("#  "))
        .map(|line| line.strip_prefix('#').unwrap_or(line))
        .collect();
    for lines in [file.clone(), examples.join("\n")] {
        let (right, said) = Lighttpd::builder().config(&lines).check();
        assert!(right && !said.contains("WARNING"), "{lines}\n{said}");
    }
}

/// The README's lines are right.
#[test]
fn the_configuration_of_the_readme_loads() {
    for (page, pieces) in [
        (include_str!("../README.md"), 1),
        (include_str!("../docs/lighttpd.md"), 2),
        (include_str!("../docs/servers.md"), 2),
    ] {
        let found: Vec<&str> = page.split("```lighttpd\n").skip(1).collect();
        assert_eq!(found.len(), pieces);
        for piece in found {
            let lines: Vec<&str> = piece.split("```").next().unwrap().lines().collect();
            let lines: Vec<&str> =
                lines.into_iter().filter(|line| !line.starts_with("server.modules")).collect();
            let (right, said) = Lighttpd::builder().config(lines.join("\n")).check();
            assert!(right && !said.contains("WARNING"), "{said}");
        }
    }
}
