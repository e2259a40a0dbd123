//! The short form of `make bench`: it runs, and leaves results behind.

use std::path::Path;
use std::process::Command;

#[test]
fn it_measures_and_leaves_results() {
    let output = Command::new(env!("CARGO_BIN_EXE_fcgate-bench"))
        .args(["P5", "P9", "P12"])
        .env("ROUNDS", "1")
        .env("TIME", "0.1")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/results.json");
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(results).expect("results")).expect("JSON");
    let results = results.as_array().expect("a list");
    assert_eq!(results.len(), 16);
    for result in results {
        for name in ["mark", "name", "unit", "fcgate", "peer", "ratio", "goal", "rounds"] {
            assert!(result.get(name).is_some(), "{result} has no {name}");
        }
        assert!(result["fcgate"].as_f64().is_some_and(|number| number > 0.0), "{result}");
    }
}
