//! Data folders of pictures, made for a test and removed with it.

use std::path::PathBuf;

use gtc::data::Images;
use gtc::data::folder::{FolderOptions, Loaded, read_pictures};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

pub const QUIET: &(dyn Fn(usize, usize) + Sync) = &|_, _| ();

/// A data folder that is removed with the test.
pub struct Tree(pub TempDir);

impl Tree {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn at(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.at(name), bytes).unwrap();
    }

    /// A picture of one colour.
    pub fn colour(&self, name: &str, rgb: [u8; 3]) {
        RgbImage::from_pixel(8, 8, Rgb(rgb))
            .save(self.at(name))
            .unwrap();
    }

    pub fn folder(&self, name: &str) {
        std::fs::create_dir_all(self.at(name)).unwrap();
    }

    /// Two classes with `count` pictures each.
    pub fn two_classes(count: usize) -> Self {
        let tree = Self::new();
        for i in 0..count {
            tree.colour(&format!("cat/{i}.png"), [200, i as u8, 0]);
            tree.colour(&format!("dog/{i}.png"), [0, i as u8, 200]);
        }
        tree
    }

    pub fn load(&self, options: &FolderOptions) -> Result<Loaded, String> {
        read_pictures(self.0.path(), options, QUIET).map_err(|e| e.to_string())
    }

    /// Loads with the smallest options; must succeed.
    pub fn loaded(&self) -> Loaded {
        self.load(&small()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Demands an error that names all of `words`.
    pub fn refused(&self, words: &[&str]) {
        let error = self.load(&small()).map(|_| ()).unwrap_err();
        for word in words {
            assert!(error.contains(word), "no '{word}' in\n{error}");
        }
    }
}

pub fn small() -> FolderOptions {
    FolderOptions {
        size: [8, 8],
        ..FolderOptions::default()
    }
}

pub fn count(images: &Images, label: u16) -> usize {
    images.labels.iter().filter(|l| **l == label).count()
}

pub fn warned(loaded: &Loaded, words: &[&str]) {
    let found = loaded
        .warnings
        .iter()
        .any(|w| words.iter().all(|word| w.contains(word)));
    assert!(found, "{words:?} in none of {:?}", loaded.warnings);
}

/// One picture as both a training and a test picture of two classes; returns its bytes as read.
pub fn seen(name: &str, bytes: &[u8], options: &FolderOptions) -> Result<Images, String> {
    let tree = Tree::new();
    for part in ["train", "test"] {
        for class in ["a", "b"] {
            tree.write(&format!("{part}/{class}/{name}"), bytes);
        }
    }
    Ok(tree.load(options)?.data.train)
}

pub fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A picture with a different colour at every place, smooth enough for JPEG.
pub fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 128])
    })
}
