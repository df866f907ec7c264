//! Which pictures are for testing, and the order of all of them.

use std::cmp::Ordering;

use super::scan::Picture;

/// A number that depends on every byte and on the seed: FNV-1a, then the last steps of SplitMix64,
/// after which all bits are equally good.
pub(super) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let mut mixed = fnv.wrapping_add(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Seed of the order of pictures whose names are no numbers.
const ORDER: u64 = 0x6f72_6465;

/// Sorts pictures: first those whose name is a number, by that number; then the others, by a hash of
/// their paths. Pictures of the same number are ordered by class.
pub(super) fn sort(pictures: &mut [Picture]) {
    pictures.sort_by_cached_key(|picture| {
        let (kind, place) = match picture.number() {
            Some(number) => (0, number),
            None => (1, hash(ORDER, &picture.key)),
        };
        (kind, place, picture.label, picture.key.clone())
    });
}

/// Divides the pictures of one class into those to learn from and those to be tested on. A picture is
/// tested on if the hash of its path lies below the fraction, so that another file moves none; only
/// where one half would be empty, the picture nearest to the limit changes sides. `None`: there are
/// fewer than two.
pub(super) fn split(
    class: Vec<Picture>,
    fraction: f64,
    seed: u64,
) -> Option<(Vec<Picture>, Vec<Picture>)> {
    if class.len() < 2 {
        return None;
    }
    let share = |picture: &Picture| hash(seed, &picture.key) as f64 / 2f64.powi(64);
    let nearer =
        |a: &Picture, b: &Picture| share(a).partial_cmp(&share(b)).unwrap_or(Ordering::Equal);
    let (mut test, mut train): (Vec<_>, Vec<_>) = class
        .into_iter()
        .partition(|picture| share(picture) < fraction);
    if test.is_empty() {
        let first = (0..train.len()).min_by(|a, b| nearer(&train[*a], &train[*b]))?;
        test.push(train.swap_remove(first));
    } else if train.is_empty() {
        let last = (0..test.len()).max_by(|a, b| nearer(&test[*a], &test[*b]))?;
        train.push(test.swap_remove(last));
    }
    Some((train, test))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(names: impl IntoIterator<Item = String>) -> Vec<Picture> {
        let picture = |name: String| Picture {
            key: name.clone().into_bytes(),
            path: name.into(),
            ..Picture::default()
        };
        names.into_iter().map(picture).collect()
    }

    fn keys(pictures: &[Picture]) -> Vec<&[u8]> {
        pictures.iter().map(|p| p.key.as_slice()).collect()
    }

    #[test]
    fn a_split_has_its_fraction_and_another_file_moves_none() {
        let names = |count: usize| (0..count).map(|i| format!("cat/{i}.png"));
        let (train, test) = split(pictures(names(1000)), 0.2, 1).unwrap();
        assert_eq!(train.len() + test.len(), 1000);
        assert!((150..250).contains(&test.len()), "{}", test.len());
        let (_, more) = split(pictures(names(1100)), 0.2, 1).unwrap();
        let before = keys(&test);
        let after = keys(&more);
        assert!(before.iter().all(|key| after.contains(key)));
        let old = names(1000).collect::<Vec<_>>();
        let old: Vec<&[u8]> = old.iter().map(String::as_bytes).collect();
        assert!(
            after
                .iter()
                .all(|key| before.contains(key) || !old.contains(key))
        );
        let (_, other) = split(pictures(names(1000)), 0.2, 2).unwrap();
        assert_ne!(keys(&test), keys(&other));
    }

    #[test]
    fn both_halves_have_a_picture() {
        for fraction in [1e-9, 0.2, 1.0 - 1e-9] {
            for count in 2..6 {
                let names = (0..count).map(|i| format!("dog/{i}.png"));
                let (train, test) = split(pictures(names), fraction, 1).unwrap();
                assert!(!train.is_empty() && !test.is_empty(), "{fraction} {count}");
                assert_eq!(train.len() + test.len(), count);
            }
        }
        assert!(split(pictures(["a/1.png".to_owned()]), 0.2, 1).is_none());
    }

    #[test]
    fn numbers_come_first_in_their_order_and_the_rest_is_mixed() {
        let numbers = (0..20).map(|i| format!("{}/{:05}.png", i % 3, 19 - i));
        let named =
            (0..200).map(|i| format!("{}/{0}.{i}.jpg", if i < 100 { "cat" } else { "dog" }));
        let mut all = pictures(named.chain(numbers));
        sort(&mut all);
        let found: Vec<u64> = all.iter().filter_map(Picture::number).collect();
        assert_eq!(found, (0..20).collect::<Vec<u64>>());
        assert!(all[..20].iter().all(|p| p.number().is_some()));
        let cats = all[20..70].iter().filter(|p| p.key.starts_with(b"cat"));
        assert!((12..38).contains(&cats.count()));
    }
}
