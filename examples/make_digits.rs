//! Makes `assets/digits/` from the complete MNIST: the first 600 training and 100 test digits of
//! each class, in their original order.
//!
//! ```text
//! cargo run --release --example make_digits -- FOLDER_OF_MNIST
//! ```

use std::io::Write;
use std::path::Path;

use gtc::data::{Images, encode_images, encode_labels, read_folder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name the folder of MNIST's four files")?;
    let mnist = read_folder(folder.as_ref())?;
    save("train", &mnist.train, 600)?;
    save("test", &mnist.test, 100)
}

fn save(name: &str, images: &Images, of_each: usize) -> Result<(), Box<dyn std::error::Error>> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let mut taken = [0; 10];
    for i in 0..images.count() {
        let class = usize::from(images.labels[i]);
        if taken[class] < of_each {
            taken[class] += 1;
            pixels.extend_from_slice(images.image(i));
            labels.push(u8::try_from(images.labels[i])?);
        }
    }
    let images_idx = encode_images(images.height, images.width, &pixels);
    write(&format!("{name}-images.idx.gz"), &images_idx)?;
    write(&format!("{name}-labels.idx.gz"), &encode_labels(&labels))
}

/// No time of day and no name in the header, so that the same input gives the same file.
fn write(name: &str, bytes: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("assets/digits")
        .join(name);
    let file = std::fs::File::create(&path)?;
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()?;
    println!(
        "{} ({} bytes)",
        path.display(),
        std::fs::metadata(&path)?.len()
    );
    Ok(())
}
