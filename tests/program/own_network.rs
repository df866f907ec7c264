//! A network of one's own on pictures of one's own: the five commands of the README, as they stand there.

use std::path::Path;

use crate::common::{finish, gtc};
use image::{Rgb, RgbImage};

/// The commands of the README's section on own networks, without their indentation.
fn commands() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let section = text.split("## Your own network, your own pictures").nth(1);
    let section = section
        .expect("the README has the section")
        .split("\n## ")
        .next()
        .unwrap();
    let lines = section
        .lines()
        .filter_map(|line| line.strip_prefix("    gtc "));
    lines.map(str::to_owned).collect()
}

/// Squares, bars and frames of any colour on a dark ground.
fn draw_pictures(folder: &Path, each: u32) {
    for (class, name) in ["bar", "frame", "square"].iter().enumerate() {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..each {
            let (left, top) = (4 + 3 * (i % 4), 4 + 3 * (i / 4 % 4));
            let picture = RgbImage::from_fn(40, 36, |x, y| {
                let (x, y) = (x.wrapping_sub(left), y.wrapping_sub(top));
                let inside = x < 18 && y < 18;
                let edge = !(3..15).contains(&x) || !(3..15).contains(&y);
                let drawn = inside && [x < 5, edge, true][class];
                match drawn {
                    true => Rgb([120 + (7 * i % 130) as u8, 200, 90 + (11 * i % 150) as u8]),
                    false => Rgb([(i % 30) as u8, 20, 25]),
                }
            });
            picture.save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
}

/// What a person does between the first and the second command: as many outputs as the pictures have classes, and,
/// so that the test is quick, a quarter of the channels.
fn edit(file: &Path) {
    let mut text = std::fs::read_to_string(file).unwrap();
    for (from, to) in [
        ("outputs = 10", "outputs = \"data\""),
        ("outputs = 16", "outputs = 4"),
        ("outputs = 32", "outputs = 8"),
        ("outputs = 64", "outputs = 12"),
    ] {
        assert!(text.contains(from), "{text}");
        text = text.replace(from, to);
    }
    std::fs::write(file, text).unwrap();
}

#[test]
fn the_five_commands_of_the_readme_work() {
    let place = tempfile::tempdir().unwrap();
    draw_pictures(&place.path().join("photos"), 30);
    std::fs::create_dir_all(place.path().join("FOLDER")).unwrap();
    let new = place.path().join("FOLDER/new.png");
    std::fs::copy(place.path().join("photos/square/3.png"), new).unwrap();
    let commands = commands();
    assert_eq!(commands.len(), 5, "{commands:?}");
    let mut last = String::new();
    for (number, command) in commands.iter().enumerate() {
        let (words, redirected) = match command.split_once(" > ") {
            Some((words, file)) => (words, Some(file.trim())),
            None => (command.as_str(), None),
        };
        let mut process = gtc();
        process
            .current_dir(place.path())
            .args(words.split_whitespace());
        process.env("GTC_CACHE_DIR", place.path().join("cache"));
        let (code, stdout, stderr) = finish(process.output().unwrap());
        assert_eq!(code, 0, "gtc {command}\n{stdout}\n{stderr}");
        if let Some(file) = redirected {
            std::fs::write(place.path().join(file), &stdout).unwrap();
        }
        if number == 0 {
            edit(&place.path().join("mine.toml"));
        }
        last = stdout;
    }
    // The names of the class folders came all the way through the packed file.
    assert!(
        ["bar", "frame", "square"]
            .iter()
            .any(|name| last.contains(name)),
        "{last}"
    );
    assert!(place.path().join("runs/mine-1/model.toml").exists());
}
