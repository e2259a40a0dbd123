//! Changing over from a server's own module: what an application is told differs just as a page says.

use fcgate_kit::{Application, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The field by which a request says who is to forward it.
pub const WAY: &str = "X-Way";

/// What an application is told.
pub type Params = BTreeMap<String, String>;

/// What differs by nature: between any two requests, or because it says who forwards.
fn is_incidental(name: &str) -> bool {
    // mod_proxy_fcgi passes LD_LIBRARY_PATH on where Apache itself was started with one.
    ["REMOTE_PORT", "HTTP_X_WAY", "UNIQUE_ID", "LD_LIBRARY_PATH"].contains(&name)
}

/// Requests of the kinds that applications live on.
pub fn requests() -> Vec<Request> {
    vec![
        Request::get("/x.php?a=b&c=%20d"),
        Request::get("/x.php/path/in%20fo?q"),
        Request::post("/x.php", "a body").field("Content-Type", "text/plain"),
        Request::head("/x.php"),
        Request::get("/x.php").field("Authorization", "Basic YW5uOnBhc3N3b3Jk"),
        Request::get("/private/x.php").field("Authorization", "Basic YW5uOnBhc3N3b3Jk"),
        Request::get("/front/deep/page?a=b"),
        Request::get("/no/such/page"),
        Request::get("/alias/y.php/more"),
        Request::get("/dir/"),
        Request::get("/x.php")
            .field("X_Under", "1")
            .field("Proxy", "evil")
            .field("X-Twice", "1")
            .field("X-Twice", "2"),
        Request::get("/x.php")
            .field("X-Forwarded-For", "203.0.113.7")
            .field("Cookie", "a=1")
            .field("Cookie", "b=2"),
        Request::get("/x.php").field("TE", "trailers").field("Connection", "TE"),
        Request::get("/x.php").http_1_0(),
    ]
}

/// Of what an application saw last.
pub fn seen(application: &Application) -> Params {
    let request = application.requests().pop().expect("it was asked");
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    request.params.iter().map(|(name, value)| (text(name), text(value))).collect()
}

/// Names, with an example of a value before and after.
pub type Differences = BTreeMap<String, (Option<String>, Option<String>)>;

/// Every name whose param is not the same, with an example of each. `params` sends a request one way and
/// tells the params, if they can be told.
pub fn differences(params: impl Fn(&Request, &str) -> Option<Params>) -> Differences {
    let mut all = BTreeMap::new();
    for request in requests() {
        let [Some(before), Some(after)] =
            ["old", "new"].map(|way| params(&request.clone().field(WAY, way), way))
        else {
            continue;
        };
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names.into_iter().filter(|name| !is_incidental(name)) {
            let (was, is) = (before.get(name), after.get(name));
            if was != is {
                all.entry(name.clone()).or_insert((was.cloned(), is.cloned()));
            }
        }
    }
    all
}

/// The names in the first column of the table between the marks of a page.
fn told(page: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let table = text.split("<!-- differences -->").nth(1).expect("the marks").to_owned();
    let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

/// Panics unless the page tells of just these.
pub fn agree(page: &str, found: Differences) {
    let told = told(page);
    for (name, (was, is)) in &found {
        assert!(told.contains(name), "{page} does not tell of {name}: {was:?}, now {is:?}\n{found:#?}");
    }
    for name in told {
        assert!(found.contains_key(&name), "{page} tells of {name}, which does not differ");
    }
}
