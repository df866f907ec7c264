//! Decoded pictures are kept, and never wrong.

use std::path::{Path, PathBuf};

use crate::common::pictures::{Tree, small, warned};
use gtc::data::folder::{FolderOptions, Loaded, Resize};

fn with(place: &Path) -> FolderOptions {
    FolderOptions {
        cache: Some(place.to_owned()),
        ..small()
    }
}

fn same(a: &Loaded, b: &Loaded) -> bool {
    let (a, b) = (&a.data, &b.data);
    a.train == b.train && a.test == b.test && a.classes == b.classes
}

fn files(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_second_time_comes_from_the_cache() {
    let tree = Tree::two_classes(10);
    let place = tempfile::tempdir().unwrap();
    let options = with(place.path());
    let plain = tree.loaded();
    let first = tree.load(&options).unwrap();
    let second = tree.load(&options).unwrap();
    assert!(!first.from_cache && second.from_cache);
    assert!(same(&plain, &first) && same(&first, &second));
    assert!(!second.data.train.pixels.is_mapped());
    assert_eq!(files(place.path()).len(), 1);
    let mapped = FolderOptions {
        map_above: Some(0),
        ..options.clone()
    };
    let mapped = tree.load(&mapped).unwrap();
    assert!(mapped.data.train.pixels.is_mapped() && mapped.from_cache);
    assert!(same(&first, &mapped));
    // Written and mapped in one go, as data larger than memory are.
    std::fs::remove_file(&files(place.path())[0]).unwrap();
    let options = FolderOptions {
        map_above: Some(0),
        ..options
    };
    let fresh = tree.load(&options).unwrap();
    assert!(fresh.data.test.pixels.is_mapped() && !fresh.from_cache && same(&first, &fresh));
}

#[test]
fn anything_that_changes_makes_it_anew() {
    let tree = Tree::two_classes(10);
    tree.colour("cat/same.bmp", [9, 9, 9]);
    let place = tempfile::tempdir().unwrap();
    let options = with(place.path());
    let first = tree.load(&options).unwrap();
    // The same length, other pixels, a later time.
    let file = tree.at("cat/same.bmp");
    tree.colour("cat/same.bmp", [1, 3, 5]);
    let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    std::fs::File::options()
        .append(true)
        .open(&file)
        .unwrap()
        .set_modified(later)
        .unwrap();
    let changed = tree.load(&options).unwrap();
    assert!(!changed.from_cache && !same(&first, &changed));
    tree.colour("cat/new.png", [1, 3, 5]);
    assert!(!tree.load(&options).unwrap().from_cache);
    std::fs::remove_file(tree.at("dog/1.png")).unwrap();
    assert!(!tree.load(&options).unwrap().from_cache);
    std::fs::rename(tree.at("dog"), tree.at("wolf")).unwrap();
    assert!(!tree.load(&options).unwrap().from_cache);
    assert_eq!(files(place.path()).len(), 1, "what is stale is replaced");
    for other in [
        FolderOptions {
            size: [4, 8],
            ..options.clone()
        },
        FolderOptions {
            channels: Some(1),
            ..options.clone()
        },
        FolderOptions {
            resize: Resize::Pad,
            ..options.clone()
        },
        FolderOptions {
            background: [0; 3],
            ..options.clone()
        },
        FolderOptions {
            exif: false,
            ..options.clone()
        },
        FolderOptions {
            test_fraction: 0.4,
            ..options.clone()
        },
        FolderOptions {
            split_seed: 9,
            ..options.clone()
        },
    ] {
        assert!(!tree.load(&other).unwrap().from_cache, "{other:?}");
        assert!(tree.load(&other).unwrap().from_cache, "{other:?}");
    }
    assert!(tree.load(&options).unwrap().from_cache);
}

#[test]
fn damage_is_found_and_mended() {
    let tree = Tree::two_classes(10);
    let place = tempfile::tempdir().unwrap();
    let options = with(place.path());
    let first = tree.load(&options).unwrap();
    let file = files(place.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let damages = [
        flipped(0),
        flipped(9),
        flipped(17),
        flipped(100),
        flipped(whole.len() - 20),
        whole[..whole.len() - 1].to_vec(),
        whole[..70].to_vec(),
        whole[..20].to_vec(),
        vec![],
        [&whole[..], &[0]].concat(),
        [vec![0; 64], whole[64..].to_vec()].concat(),
    ];
    for (number, damage) in damages.iter().enumerate() {
        std::fs::write(&file, damage).unwrap();
        let again = tree.load(&options).unwrap();
        assert!(!again.from_cache && same(&first, &again), "damage {number}");
        assert!(tree.load(&options).unwrap().from_cache, "damage {number}");
    }
}

/// A program that was killed leaves a draft, which nobody takes for a file and which goes in time.
#[test]
fn a_killed_writer_leaves_nothing_that_is_read() {
    let tree = Tree::two_classes(10);
    let place = tempfile::tempdir().unwrap();
    let options = with(place.path());
    tree.load(&options).unwrap();
    let file = files(place.path()).remove(0);
    let draft = file.with_extension("1-0.pictures-draft");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&draft, &whole[..whole.len() / 2]).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(!tree.load(&options).unwrap().from_cache);
    assert!(tree.load(&options).unwrap().from_cache);
    assert!(draft.exists(), "its writer may still be at work");
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options()
        .append(true)
        .open(&draft)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    tree.load(&options).unwrap();
    assert_eq!(files(place.path()), [file]);
}

#[test]
fn a_place_that_cannot_be_written_costs_a_warning() {
    let tree = Tree::two_classes(10);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, b"not a folder").unwrap();
    let loaded = tree.load(&with(&file.join("cache"))).unwrap();
    warned(&loaded, &["could not be kept"]);
    assert!(same(&loaded, &tree.loaded()));
}

#[test]
fn broken_pictures_are_remembered_and_refused_again() {
    let tree = Tree::two_classes(10);
    tree.write("cat/bad.png", b"no");
    let place = tempfile::tempdir().unwrap();
    let skipping = FolderOptions {
        skip_broken: true,
        ..with(place.path())
    };
    tree.load(&skipping).unwrap();
    let again = tree.load(&skipping).unwrap();
    assert!(again.from_cache);
    assert_eq!(again.broken[0].file, "cat/bad.png");
    let error = tree.load(&with(place.path())).unwrap_err();
    assert!(error.contains("cat/bad.png"), "{error}");
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let place = tempfile::tempdir().unwrap();
    let trees = [10, 11, 12].map(Tree::two_classes);
    let options = FolderOptions {
        // Two files fit, three do not.
        cache_limit: 12_500,
        ..with(place.path())
    };
    let age = |seconds: u64| {
        for file in files(place.path()) {
            let file = std::fs::File::options().append(true).open(file).unwrap();
            let used = file.metadata().unwrap().modified().unwrap();
            file.set_modified(used - std::time::Duration::from_secs(seconds))
                .unwrap();
        }
    };
    trees[0].load(&options).unwrap();
    age(10);
    trees[1].load(&options).unwrap();
    age(10);
    assert!(trees[0].load(&options).unwrap().from_cache);
    trees[2].load(&options).unwrap();
    assert!(trees[0].load(&options).unwrap().from_cache, "used later");
    assert_eq!(files(place.path()).len(), 2);
    let tiny = FolderOptions {
        cache_limit: 1,
        ..options
    };
    assert!(!trees[1].load(&tiny).unwrap().from_cache);
    assert!(
        trees[1].load(&tiny).unwrap().from_cache,
        "the one in use stays"
    );
    assert_eq!(files(place.path()).len(), 1);
}

#[test]
fn two_at_once_do_not_disturb_each_other() {
    let tree = Tree::two_classes(30);
    let place = tempfile::tempdir().unwrap();
    let options = with(place.path());
    let wanted = tree.loaded();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(same(&tree.load(&options).unwrap(), &wanted)));
        }
    });
    assert_eq!(files(place.path()).len(), 1);
    assert!(tree.load(&options).unwrap().from_cache);
}
