//! `gtc export --to c`, compiled for microcontrollers and run on emulated ones.
//!
//! Needs Debian's gcc-arm-none-eabi, gcc-riscv64-unknown-elf, qemu-system-arm and qemu-system-misc; where one is
//! missing its board is left out, aloud, unless `GTC_BOARD_TESTS=required`.

use std::path::Path;
use std::process::Command;

use crate::common::{refuse, succeed, trained};

const DIGITS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/assets/digits/test-images.idx.gz"
);
const NETWORK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/lenet5.gtc");
const BOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/boards");

/// The output of a program, or nothing where it is not installed.
fn call(folder: &Path, line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let program = words.next()?;
    let output = Command::new(program)
        .args(words)
        .current_dir(folder)
        .output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let required = std::env::var("GTC_BOARD_TESTS").is_ok_and(|v| v == "required");
            assert!(!required, "{program} is not installed");
            eprintln!("{program} is not installed: its board is left out");
            return None;
        }
        output => output.unwrap(),
    };
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{line}: {text}");
    Some(text)
}

fn exported() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let said = succeed(&["export", NETWORK, "--to", "c", "-o", &out]);
    assert!(said.contains("LENET5_ARENA_BYTES"), "{said}");
    folder
}

#[test]
fn a_thousand_digits_in_c_have_the_logits_of_eval() {
    let folder = exported();
    if call(folder.path(), "make test").is_none() {
        return;
    }
    let mut images = Vec::new();
    let packed = std::fs::File::open(DIGITS).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut images).unwrap();
    std::fs::write(folder.path().join("images"), &images[16..]).unwrap();
    let said = call(folder.path(), "./lenet5_test images").unwrap();
    let got: Vec<Vec<i64>> = said
        .lines()
        .map(|line| line.split(' ').map(|n| n.parse().unwrap()).collect())
        .collect();
    let file = folder.path().join("logits.json");
    succeed(&["eval", NETWORK, "--logits", &file.display().to_string()]);
    let wanted: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(serde_json::to_value(got).unwrap(), wanted["logits"]);
}

/// The exit code says whether all vectors passed: see `tests/files/boards`.
#[test]
fn boards_give_the_known_answers() {
    let folder = exported();
    let flags = format!("-O2 -std=c99 -ffreestanding -nostdlib -DLENET5_NO_STDIO -I. -I{BOARDS}");
    let files = "lenet5.c lenet5_test.c -o board.elf";
    for (core, machine, ram) in [
        ("cortex-m0", "microbit", 16384),
        ("cortex-m3", "mps2-an385", 65536),
    ] {
        let compile = format!(
            "arm-none-eabi-gcc -mcpu={core} -mthumb {flags} -Wl,--defsym=ram=0x20000000,--defsym=ram_bytes={ram} \
             -T {BOARDS}/cortex_m.ld {BOARDS}/cortex_m.c {files}"
        );
        let run = format!(
            "qemu-system-arm -M {machine} -semihosting -nographic -monitor none -serial none \
             -icount shift=0,sleep=off -kernel board.elf"
        );
        let said = call(folder.path(), &compile).and_then(|_| call(folder.path(), &run));
        assert!(said.is_none_or(|said| said.contains("ticks")), "{core}");
    }
    let compile = format!(
        "riscv64-unknown-elf-gcc -march=rv32i_zicsr -mabi=ilp32 {flags} -T {BOARDS}/riscv.ld {BOARDS}/riscv.c {files}"
    );
    // Without the extension M, a multiplication would stop the machine.
    let run = "qemu-system-riscv32 -M virt -bios none -nographic -monitor none -icount shift=0,sleep=off \
               -cpu rv32,g=false,m=false,a=false,f=false,d=false,c=false -kernel board.elf";
    let said = call(folder.path(), &compile).and_then(|_| call(folder.path(), run));
    assert!(said.is_none_or(|said| said.contains("instructions")));
}

#[test]
fn no_instruction_multiplies_and_no_library_is_called() {
    let folder = exported();
    for (prefix, core) in [
        ("arm-none-eabi", "-mcpu=cortex-m0 -mthumb"),
        ("arm-none-eabi", "-mcpu=cortex-m3 -mthumb"),
        (
            "riscv64-unknown-elf",
            "-ffreestanding -march=rv32i -mabi=ilp32",
        ),
    ] {
        for level in ["-Os", "-O2"] {
            let compile = format!("{prefix}-gcc {core} {level} -c lenet5.c -o object.o");
            if call(folder.path(), &compile).is_none() {
                continue;
            }
            let outside = call(folder.path(), &format!("{prefix}-nm -u object.o")).unwrap();
            assert_eq!(outside.trim(), "", "{core} {level}");
            // Of constants there is what the header says.
            let symbols = call(
                folder.path(),
                &format!("{prefix}-nm -S --defined-only object.o"),
            );
            let constants = symbols.unwrap_or_default();
            let constants = constants.lines().filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [_, size, kind, _] = words[..] else {
                    return None;
                };
                let size = u64::from_str_radix(size, 16).unwrap();
                assert!("tTrR".contains(kind), "{line}");
                "rR".contains(kind).then_some(size)
            });
            let header = std::fs::read_to_string(folder.path().join("lenet5.h")).unwrap();
            let said = header.split("LENET5_TABLE_BYTES ").nth(1).unwrap();
            let said: u64 = said.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(constants.sum::<u64>(), said, "{core} {level}");
            let text = call(folder.path(), &format!("{prefix}-objdump -d object.o")).unwrap();
            let multiplies = |line: &&str| {
                let word = line.split('\t').nth(2).unwrap_or_default();
                [
                    "mul", "mla", "mls", "div", "smul", "umul", "sdiv", "udiv", "smla",
                ]
                .iter()
                .any(|name| word.starts_with(name))
            };
            assert_eq!(text.lines().find(multiplies), None, "{core} {level}");
        }
    }
}

#[test]
fn the_files_of_others_stay_and_bad_names_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    std::fs::write(folder.path().join("Makefile"), "all:\n").unwrap();
    refuse(
        &["export", NETWORK, "--to", "c", "-o", &out],
        &["Makefile", "another folder"],
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let inside = format!("{out}/new");
    refuse(
        &[
            "export", NETWORK, "--to", "c", "-o", &inside, "--prefix", "stdint",
        ],
        &["stdint", "--prefix"],
    );
    refuse(
        &["export", NETWORK, "--to", "c", "-o", NETWORK],
        &["folder"],
    );
    for (to, flag, word) in [
        ("c", "--half", ""),
        ("gtc", "--network", "lp"),
        ("pytorch", "--prefix", "net"),
    ] {
        let mut words = vec!["export", NETWORK, "--to", to, "-o", &inside, flag, word];
        words.retain(|word| !word.is_empty());
        refuse(&words, &[flag, "means nothing", to]);
    }
    let (run, _) = trained();
    let target = format!("{out}/target");
    for to in [&["c"][..], &["onnx", "--network", "integer"]] {
        let words = [&["export", run, "-o", &target, "--to"], to].concat();
        refuse(&words, &["not packed yet", "gtc pack"]);
    }
    refuse(
        &["export", NETWORK, "--to", "onnx", "-o", "x.gtc"],
        &["an ONNX model", "x.onnx"],
    );
    refuse(&["export", NETWORK, "-o", "x.safetensors"], &["--to c"]);
    succeed(&[
        "export", NETWORK, "--to", "c", "-o", &inside, "--prefix", "my net",
    ]);
    succeed(&[
        "export", NETWORK, "--to", "c", "-o", &inside, "--prefix", "my net",
    ]);
    assert!(folder.path().join("new/my_net.h").is_file());
    let other = ["--prefix", "net"];
    refuse(
        &[&["export", NETWORK, "--to", "c", "-o", &inside][..], &other].concat(),
        &["Makefile", "another network"],
    );
    assert!(!folder.path().join("new/net.h").exists());
    refuse(
        &["export", NETWORK, "--to", "verilog", "-o", &inside],
        &["Makefile", "another language"],
    );
    assert!(!folder.path().join("new/top.v").exists());
}
