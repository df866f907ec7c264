//! "Did you mean …?" for every name a person types.

/// ` (did you mean 'x'?)` for the nearest of `names`, or nothing when none is near.
pub fn did_you_mean<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(|name| {
            let score = strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase());
            (score, name)
        })
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(String::new(), |(_, name)| {
            format!(" (did you mean '{name}'?)")
        })
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn nearest_name_is_suggested_and_nonsense_is_not() {
        let names = ["lenet5", "vgg16"];
        assert_eq!(did_you_mean("lenet", names), " (did you mean 'lenet5'?)");
        assert_eq!(did_you_mean("zzzzqqq", names), "");
    }
}
