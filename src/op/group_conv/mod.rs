//! Convolution in groups of channels; depthwise if each channel is a group.

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

pub use packed::{GroupCodes, PACKED_GROUP_CONV, packed_group_conv};
