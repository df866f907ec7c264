//! What single pictures become, and which are refused.

use crate::common::pictures::{Tree, encoded, gradient, seen, small};
use gtc::data::folder::{FolderOptions, Resize};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, LumaA, Rgba, RgbaImage};

#[test]
fn every_format_is_read_and_grey_stays_grey() {
    let picture = DynamicImage::ImageRgb8(gradient(8, 8));
    for (format, ending) in [
        (ImageFormat::Png, "png"),
        (ImageFormat::WebP, "webp"),
        (ImageFormat::Bmp, "bmp"),
        (ImageFormat::Gif, "gif"),
        (ImageFormat::Jpeg, "jpeg"),
    ] {
        let images = seen(&format!("p.{ending}"), &encoded(&picture, format), &small()).unwrap();
        assert_eq!(images.channels, 3, "{ending}");
        let far = images.image(0).iter().zip(picture.as_bytes());
        let far = far.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let most = match format {
            ImageFormat::Gif | ImageFormat::Jpeg => 48,
            _ => 0,
        };
        assert!(far <= most, "{ending}: {far}");
    }
    let grey = DynamicImage::ImageLuma8(GrayImage::from_fn(8, 8, |x, _| Luma([x as u8])));
    let images = seen("p.png", &encoded(&grey, ImageFormat::Png), &small()).unwrap();
    assert_eq!(
        (images.channels, images.image(0)[..3].to_vec()),
        (1, vec![0, 1, 2])
    );
    let colour = FolderOptions {
        channels: Some(3),
        ..small()
    };
    let images = seen("p.png", &encoded(&grey, ImageFormat::Png), &colour).unwrap();
    assert_eq!(images.image(0)[..6], [0, 0, 0, 1, 1, 1]);
    let one = FolderOptions {
        channels: Some(1),
        ..small()
    };
    let images = seen("p.png", &encoded(&picture, ImageFormat::Png), &one).unwrap();
    assert_eq!(images.image(0), picture.into_luma8().into_raw());
    // A name that lies about the format does no harm.
    let png = encoded(&DynamicImage::ImageRgb8(gradient(8, 8)), ImageFormat::Png);
    assert!(seen("p.jpg", &png, &small()).is_ok());
}

#[test]
fn transparent_pixels_get_the_background() {
    let clear = RgbaImage::from_fn(8, 8, |x, _| {
        Rgba([255, 0, 0, [0, 128, 255][x.min(2) as usize]])
    });
    let png = encoded(&DynamicImage::ImageRgba8(clear), ImageFormat::Png);
    let white = seen("p.png", &png, &small()).unwrap();
    assert_eq!(
        white.image(0)[..9],
        [255, 255, 255, 255, 127, 127, 255, 0, 0]
    );
    let black = FolderOptions {
        background: [0; 3],
        ..small()
    };
    let black = seen("p.png", &png, &black).unwrap();
    assert_eq!(black.image(0)[..9], [0, 0, 0, 128, 0, 0, 255, 0, 0]);
    let grey = image::GrayAlphaImage::from_pixel(8, 8, LumaA([40, 0]));
    let png = encoded(&DynamicImage::ImageLumaA8(grey), ImageFormat::Png);
    let grey = seen("p.png", &png, &small()).unwrap();
    assert_eq!((grey.channels, grey.image(0)[0]), (1, 255));
}

#[test]
fn sixteen_bits_become_eight() {
    let deep = image::ImageBuffer::from_fn(8, 8, |x, _| Luma([x as u16 * 257]));
    let png = encoded(&DynamicImage::ImageLuma16(deep), ImageFormat::Png);
    let images = seen("p.png", &png, &small()).unwrap();
    assert_eq!(images.image(0)[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn an_animation_is_its_first_frame() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for colour in [[250, 0, 0, 255], [0, 0, 250, 255]] {
        let frame = RgbaImage::from_pixel(8, 8, Rgba(colour));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let images = seen("p.gif", &bytes, &small()).unwrap();
    assert!(images.image(0)[0] > 200 && images.image(0)[2] < 50);
}

/// A JPEG with an EXIF orientation, as a camera writes it.
fn turned_jpeg(orientation: u8) -> Vec<u8> {
    let mut picture = GrayImage::new(8, 8);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        // The upper left quarter is bright.
        *pixel = Luma([if x < 4 && y < 4 { 250 } else { 5 }]);
    }
    let plain = encoded(&DynamicImage::ImageLuma8(picture), ImageFormat::Jpeg);
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() + 2) as u16;
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1];
    bytes.extend(length.to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&plain[2..]);
    bytes
}

#[test]
fn pictures_are_turned_as_their_exif_says() {
    let bright = |options: &FolderOptions, orientation| {
        let images = seen("p.jpg", &turned_jpeg(orientation), options).unwrap();
        let image = images.image(0);
        let corner = |x: usize, y: usize| image[8 * y + x] > 128;
        [corner(1, 1), corner(6, 1), corner(1, 6), corner(6, 6)].map(u8::from)
    };
    assert_eq!(bright(&small(), 1), [1, 0, 0, 0]);
    assert_eq!(bright(&small(), 6), [0, 1, 0, 0], "turned to the right");
    assert_eq!(bright(&small(), 3), [0, 0, 0, 1], "upside down");
    let as_stored = FolderOptions {
        exif: false,
        ..small()
    };
    assert_eq!(bright(&as_stored, 6), [1, 0, 0, 0]);
}

#[test]
fn pictures_of_any_shape_get_the_wanted_one() {
    // 16 x 8: the left quarter black, the middle grey, the right quarter white.
    let wide = GrayImage::from_fn(16, 8, |x, _| Luma([[0, 128, 128, 255][x as usize / 4]]));
    let png = encoded(&DynamicImage::ImageLuma8(wide), ImageFormat::Png);
    let with = |resize, size| {
        let options = FolderOptions {
            resize,
            size,
            ..small()
        };
        let images = seen("p.png", &png, &options).unwrap();
        images.image(0).to_vec()
    };
    assert_eq!(with(Resize::Crop, [8, 8]), [128; 64]);
    let row = with(Resize::Stretch, [8, 8])[..8].to_vec();
    assert!(
        row[0] < 20 && row[3].abs_diff(128) < 20 && row[7] > 235,
        "{row:?}"
    );
    let padded = with(Resize::Pad, [8, 8]);
    assert_eq!(
        (&padded[..16], &padded[48..]),
        (&[255; 16][..], &[255; 16][..])
    );
    assert!(padded[16] < 20);
    assert_eq!(
        with(Resize::Crop, [8, 16])[..16],
        [
            0, 0, 0, 0, 128, 128, 128, 128, 128, 128, 128, 128, 255, 255, 255, 255
        ]
    );
    assert_eq!(with(Resize::Crop, [4, 16]).len(), 64);
}

#[test]
fn very_long_pictures_take_little_memory() {
    let long = GrayImage::from_fn(30_000, 1, |x, _| Luma([if x == 15_000 { 0 } else { 77 }]));
    let png = encoded(&DynamicImage::ImageLuma8(long), ImageFormat::Png);
    for resize in Resize::ALL {
        let options = FolderOptions {
            resize,
            size: [64, 64],
            ..small()
        };
        assert_eq!(
            seen("p.png", &png, &options).unwrap().image(0).len(),
            64 * 64
        );
    }
}

/// A PNG that promises a size and holds next to nothing.
fn promising_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        let body = [kind, data].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&body);
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(&body);
        bytes.extend(sum.sum().to_be_bytes());
    };
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&size[..], &[8, 2, 0, 0, 0]].concat());
    chunk(b"IDAT", &[0x78, 0x9c, 3, 0, 0, 0, 0, 1]);
    chunk(b"IEND", &[]);
    bytes
}

#[test]
fn a_picture_of_absurd_size_is_refused_by_name() {
    let refused = |name: &str, bytes: &[u8]| {
        let error = seen(name, bytes, &small()).unwrap_err();
        assert!(
            error.contains(name) && error.contains("60000x60000"),
            "{error}"
        );
    };
    refused("huge.png", &promising_png(60_000, 60_000));
    let mut bmp = encoded(&DynamicImage::ImageRgb8(gradient(8, 8)), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    refused("huge.bmp", &bmp);
    let mut jpeg = encoded(&DynamicImage::ImageRgb8(gradient(8, 8)), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    refused("huge.jpg", &jpeg);
}

#[test]
fn broken_pictures_are_all_named_or_skipped() {
    let tree = Tree::two_classes(5);
    let jpeg = encoded(
        &DynamicImage::ImageRgb8(gradient(200, 150)),
        ImageFormat::Jpeg,
    );
    let png = encoded(
        &DynamicImage::ImageRgb8(gradient(200, 150)),
        ImageFormat::Png,
    );
    tree.write("cat/half.jpg", &jpeg[..jpeg.len() / 2]);
    tree.write("cat/nearly.jpg", &jpeg[..jpeg.len() - 2]);
    tree.write("dog/half.png", &png[..png.len() / 2]);
    tree.write("dog/empty.gif", b"");
    tree.write("dog/text.png", b"this is no picture");
    let names = [
        "cat/half.jpg",
        "cat/nearly.jpg",
        "dog/half.png",
        "dog/empty.gif",
        "dog/text.png",
    ];
    tree.refused(&[&["5 broken", "--skip-broken"], &names[..]].concat());
    let skipping = FolderOptions {
        skip_broken: true,
        ..small()
    };
    let loaded = tree.load(&skipping).unwrap();
    assert_eq!(loaded.data.train.count() + loaded.data.test.count(), 10);
    let mut found: Vec<&str> = loaded.broken.iter().map(|b| b.file.as_str()).collect();
    found.sort_unstable();
    let mut wanted = names.to_vec();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    // A film behind the picture, as telephones write it, does no harm.
    tree.write(
        "cat/half.jpg",
        &[&jpeg[..], &[0, 0xff, 0xda, 7, 7]].concat(),
    );
    let loaded = tree.load(&skipping).unwrap();
    assert_eq!(loaded.broken.len(), 4);
    for i in 0..30 {
        tree.write(&format!("cat/broken{i}.png"), b"no");
    }
    tree.refused(&["34 broken", "and 14 more"]);
}

/// Every length of a JPEG that was cut is found.
#[test]
fn no_cut_of_a_jpeg_is_taken_for_a_picture() {
    let jpeg = encoded(
        &DynamicImage::ImageRgb8(gradient(40, 40)),
        ImageFormat::Jpeg,
    );
    let tree = Tree::new();
    let lengths = (0..jpeg.len()).step_by(11);
    let cuts = lengths.clone().count();
    for length in lengths {
        tree.write(&format!("a/{length}.jpg"), &jpeg[..length]);
    }
    for class in ["a", "b"] {
        tree.write(&format!("{class}/whole1.jpg"), &jpeg);
        tree.write(&format!("{class}/whole2.jpg"), &jpeg);
    }
    tree.refused(&[&format!("{cuts} broken")]);
}
