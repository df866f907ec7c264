//! Tiles of float products that were measured to be the fastest on a device.

use std::collections::BTreeMap;

use super::Core;
use crate::recording::Call;

/// For each product, by its name ([`Call::product_name`]), the tile that it should have, as [`Core::tile_name`] says it.
/// Products that are not in it have the tile of the engine's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiles(BTreeMap<String, String>);

impl Tiles {
    /// Pairs of a product's name and a tile's name.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// Whether no product is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The way in which the threads of a call should share its product, of `cores`, if it is known.
    pub(crate) fn core(&self, call: &Call, cores: &[Core]) -> Option<Core> {
        if self.is_empty() {
            return None;
        }
        let tile = self.0.get(&call.product_name()?)?;
        cores.iter().copied().find(|core| core.tile_name() == *tile)
    }
}
