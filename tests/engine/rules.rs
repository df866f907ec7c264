//! Rules about the tests themselves.

use std::path::{Path, PathBuf};

/// Words of programs that measure time, one a line.
const CLOCKS: &str = include_str!("../files/clock_words.txt");

/// Test programs below a folder: Rust files, and those that the browser's test runner runs.
fn test_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "node_modules" {
            files.extend(test_files(&path));
        } else if name.ends_with(".rs") || name.ends_with(".test.mjs") {
            files.push(path);
        }
    }
    files
}

/// A time depends on what else a machine does. Times belong to `benches`; a test counts.
#[test]
fn no_test_measures_time() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = test_files(&folder);
    assert!(files.len() > 15, "only {} files were read", files.len());
    let mut found = Vec::new();
    for path in &files {
        let text = std::fs::read_to_string(path).unwrap();
        for (number, line) in text.lines().enumerate() {
            for clock in CLOCKS.lines().filter(|clock| line.contains(*clock)) {
                found.push(format!("{}:{}: {clock}", path.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
