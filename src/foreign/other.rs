//! What a file is that is no safetensors file, by its first bytes.

/// Formats of models and pictures, with what begins a file of each.
const FORMATS: [(&[u8], &str); 7] = [
    (b"\x89HDF", "an HDF5 file, as Keras writes them"),
    (b"GGUF", "a GGUF file"),
    (b"\x93NUMPY", "an array of NumPy"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x1f\x8b", "a file packed by gzip"),
    (b"GIF8", "a GIF picture"),
];
/// How PyTorch's files become safetensors.
const CONVERT: &str = "Convert it where PyTorch is: python -c \"import torch; from safetensors.torch import save_file; \
     d = torch.load('MODEL.pth', map_location='cpu', weights_only=True); d = d.get('state_dict', d); \
     save_file({k: v.contiguous() for k, v in d.items()}, 'MODEL.safetensors')\"";

/// What bytes are, if they are a whole file of a known kind that is not safetensors, and what to do with it.
pub fn other_format(data: &[u8]) -> Option<String> {
    let begins = |start: &[u8]| data.starts_with(start);
    let holds = |word: &[u8]| {
        let head = &data[..data.len().min(4096)];
        head.windows(word.len()).any(|found| found == word)
    };
    if begins(b"PK\x03\x04") {
        return Some(match (holds(b"data.pkl"), holds(b".npy")) {
            (true, _) => format!("it is a file of PyTorch (torch.save). {CONVERT}"),
            (_, true) => "it is a file of NumPy (npz); safetensors.numpy.save_file writes its arrays as safetensors".to_owned(),
            _ => "it is a zip archive; unpack it first".to_owned(),
        });
    }
    // A pickle of protocol 2 or later, as PyTorch wrote before version 1.6.
    if data.len() > 2 && data[0] == 0x80 && (2..=5).contains(&data[1]) {
        return Some(format!("it is a pickle, probably of PyTorch. {CONVERT}"));
    }
    // A message of protocol buffers that begins with the version of its format and the name of what wrote it.
    if data.len() > 4 && data[0] == 0x08 && data[1] < 32 && data[2] == 0x12 {
        return Some("it looks like an ONNX file; `gtc import` makes a model of it".to_owned());
    }
    let known = FORMATS.iter().find(|(start, _)| begins(start));
    if let Some((_, what)) = known {
        return Some(format!("it is {what}, no safetensors file"));
    }
    let start = data[..data.len().min(512)].trim_ascii_start();
    match start {
        [b'<', ..] => Some(
            "it is a web page, perhaps an error of the server it was to come from; fetch it again"
                .to_owned(),
        ),
        _ if data.is_empty() => Some("the file is empty".to_owned()),
        _ if start.starts_with(b"version https://git-lfs") => Some(
            "it is a pointer of Git LFS, not the file itself: `git lfs pull` fetches it".to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_named() {
        for (bytes, word) in [
            (&b"PK\x03\x04....archive/data.pkl"[..], "PyTorch"),
            (b"PK\x03\x04....weight.npy", "NumPy"),
            (b"PK\x03\x04....", "zip"),
            (b"\x80\x02\x8a\x0a", "pickle"),
            (b"\x08\x08\x12\x07pytorch", "ONNX"),
            (b"\x89HDF\r\n", "HDF5"),
            (b"", "empty"),
            (b"\n<!DOCTYPE html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1", "LFS"),
        ] {
            let found = other_format(bytes).unwrap_or_default();
            assert!(found.contains(word), "{word}: {found}");
        }
        assert_eq!(other_format(b"\x40\0\0\0\0\0\0\0{\"a\":"), None);
        assert_eq!(other_format(b"not one"), None);
    }
}
