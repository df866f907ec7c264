//! Thousands of damaged files: the parsers answer with an error or a sound value, never with a
//! panic, and never allocate more than a file can justify.

use std::io::Write;
use std::sync::OnceLock;

use gtc::checkpoint::{self, Checkpoint, Header, VERSION};
use gtc::data::{encode_images, encode_labels, parse_images, parse_labels, read_folder};
use gtc::foreign::{self, Tensors, WeightPrecision};
use gtc::model::{Model, Parameters};
use gtc::onnx;
use gtc::train::{Snapshot, TrainOptions};
use proptest::prelude::*;
use safetensors::SafeTensors;

/// Ways a file goes wrong.
#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, u8),
    Truncate(usize),
    Insert(usize, Vec<u8>),
    Word(usize, u32),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        (any::<usize>(), 1u8..).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        (0usize..64, 1u8..).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        any::<usize>().prop_map(Damage::Truncate),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, b)| Damage::Insert(at, b)),
        (
            0usize..6,
            prop_oneof![Just(0), Just(u32::MAX), Just(1 << 31), any::<u32>()]
        )
            .prop_map(|(word, value)| Damage::Word(word, value)),
    ];
    prop::collection::vec(one, 0..4)
}

fn apply(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damages {
        let len = bytes.len().max(1);
        match damage {
            Damage::Flip(at, mask) => {
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte ^= mask;
                }
            }
            Damage::Truncate(at) => bytes.truncate(at % len),
            Damage::Insert(at, more) => {
                let at = (at % len).min(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Word(word, value) => {
                if let Some(place) = bytes.get_mut(4 * word..4 * word + 4) {
                    place.copy_from_slice(&value.to_be_bytes());
                }
            }
        }
    }
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn small_checkpoint() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let model = Model::by_name("vgg-tiny").unwrap();
        let parameters = Parameters::new(&model);
        let weights = parameters.initial(1);
        let running = parameters.initial_running();
        checkpoint::encode(&Checkpoint {
            header: Header {
                version: VERSION,
                model: "vgg-tiny".to_owned(),
                graph: Some(gtc::graph::Description::of(&model)),
                data: "noise".to_owned(),
                classes: (0..10).map(|c| c.to_string()).collect(),
                images: 10,
                data_hash: None,
                seen: None,
                step: 0,
                learned: None,
                options: TrainOptions::default(),
            },
            snapshot: Snapshot {
                step: 0,
                first_moment: vec![0.0; weights.len()],
                second_moment: vec![0.0; weights.len()],
                weights,
                running: [running.clone(), running],
                totals: vec![0.0; 16],
            },
        })
        .unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_image_files(damages in damage(), packed in any::<bool>()) {
        let good = encode_images(5, 4, &[7; 60]);
        let bytes = if packed { gzip(&apply(&good, &damages)) } else { apply(&good, &damages) };
        if let Ok(([count, height, width], pixels)) = parse_images("fuzz", &bytes) {
            prop_assert_eq!(pixels.len(), count * height * width);
            prop_assert!(count > 0 && height > 0 && width > 0);
        }
    }

    #[test]
    fn damaged_gzip_files(damages in damage()) {
        let bytes = apply(&gzip(&encode_images(5, 4, &[7; 60])), &damages);
        if let Ok(([count, height, width], pixels)) = parse_images("fuzz", &bytes) {
            prop_assert_eq!(pixels.len(), count * height * width);
        }
    }

    #[test]
    fn damaged_label_files(damages in damage()) {
        let bytes = apply(&encode_labels(&[0, 9, 5, 3, 1]), &damages);
        if let Ok(labels) = parse_labels("fuzz", &bytes, 10) {
            prop_assert!(labels.iter().all(|l| *l < 10));
        }
    }

    #[test]
    fn any_bytes_at_all(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_images("fuzz", &bytes);
        let _ = parse_labels("fuzz", &bytes, 10);
        prop_assert!(checkpoint::decode("fuzz", &bytes).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_checkpoints(damages in damage(), head in 0usize..3000, mask in 1u8..) {
        let mut bytes = apply(small_checkpoint(), &damages);
        if let Some(byte) = bytes.get_mut(head) {
            *byte ^= mask;
        }
        if let Ok(checkpoint) = checkpoint::decode("fuzz", &bytes) {
            prop_assert!(checkpoint.snapshot.weights.iter().all(|v| v.is_finite()));
        }
    }
}

/// A network as PyTorch has it, behind a wrapper's prefix.
fn pytorch_file() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let checkpoint = checkpoint::decode("good", small_checkpoint()).unwrap();
        let plain = foreign::encode(&checkpoint, WeightPrecision::High, false).unwrap();
        let tensors = SafeTensors::deserialize(&plain).unwrap();
        let wrapped = tensors
            .iter()
            .map(|(name, view)| (format!("module.{name}"), view));
        safetensors::serialize(wrapped, None).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_of_pytorch(damages in damage(), head in 0usize..3000, mask in 1u8..) {
        let mut bytes = apply(pytorch_file(), &damages);
        if let Some(byte) = bytes.get_mut(head) {
            *byte ^= mask;
        }
        let _ = foreign::other_format(&bytes);
        if let Ok(tensors) = Tensors::new("fuzz", &bytes)
            && let Ok(found) = foreign::decode(tensors, None)
        {
            let (mut weights, mut running) = (found.weights, found.running);
            prop_assert!(weights.iter().chain(&running).all(|v| v.is_finite()));
            gtc::rescale::rescale(&found.model, &mut weights, &mut running);
        }
    }

    #[test]
    fn damaged_indices_of_files(damages in damage()) {
        let index = br#"{"metadata": {}, "weight_map": {"module.conv1.weight": "a.safetensors"}}"#;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.safetensors.index.json");
        std::fs::write(&file, apply(index, &damages)).unwrap();
        prop_assert!(Tensors::open(&file).is_err(), "there is no such file");
    }

    /// Labels of 32 bits, and the names of classes in a mapping beside them.
    #[test]
    fn damaged_labels_and_mappings(damages in damage(), more in damage()) {
        let words = [0x0c02u32, 3, 2, 1, 50, 2, 60, 1, 70];
        let wide: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let wide = apply(&wide, &damages);
        if let Ok(labels) = parse_labels("fuzz", &wide, 10) {
            prop_assert!(labels.iter().all(|l| *l < 10));
        }
        let folder = tempfile::tempdir().unwrap();
        for part in ["train", "test"] {
            let at = |rest: &str| folder.path().join(format!("emnist-letters-{part}-{rest}"));
            std::fs::write(at("images-idx3-ubyte"), encode_images(2, 2, &[5; 12])).unwrap();
            std::fs::write(at("labels-idx2-int"), &wide).unwrap();
        }
        let mapping = folder.path().join("emnist-letters-mapping.txt");
        std::fs::write(mapping, apply(b"0 48\n1 65 97\n2 66 98\n", &more)).unwrap();
        if let Ok(data) = read_folder(folder.path()) {
            let labels = data.train.labels.iter().chain(&data.test.labels);
            let classes = data.classes.len();
            prop_assert!(labels.into_iter().all(|label| usize::from(*label) < classes));
        }
    }
}

#[test]
fn files_of_pytorch_survive_undamaged() {
    let found = foreign::decode(Tensors::new("good", pytorch_file()).unwrap(), None).unwrap();
    assert_eq!(found.model.name, "vgg-tiny");
    assert!(found.notes[0].contains("module."), "{:?}", found.notes);
}

#[test]
fn an_undamaged_checkpoint_survives_the_round_trip() {
    let read = checkpoint::decode("good", small_checkpoint()).unwrap();
    assert_eq!(checkpoint::encode(&read).unwrap(), small_checkpoint());
}

fn onnx_files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let names = [
            "residual-17",
            "channels-last-20",
            "view-11",
            "upsample-20",
            "uneven-pad-11",
            "norms-20",
            "dense-block-17",
        ];
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/onnx");
        let read = |name| std::fs::read(format!("{folder}/{name}.onnx")).unwrap();
        names.into_iter().map(read).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_onnx_files(which in 0usize..7, damages in damage(), at in any::<usize>(), mask in 1u8..) {
        let mut bytes = apply(&onnx_files()[which], &damages);
        // Messages lie between the weights: most places of a small file are some field.
        let len = bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at % len) {
            *byte ^= mask;
        }
        let mut outside = |_: &str| Err("there is none".to_owned());
        if let Ok(found) = onnx::import("fuzz", &bytes, &mut outside) {
            prop_assert!(found.model.check().is_ok());
            prop_assert!(found.weights.iter().all(|w| w.is_finite()));
        }
    }
}
