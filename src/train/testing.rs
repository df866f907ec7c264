//! Tests that ranks share.

use super::Trainer;
use crate::data::Images;
use crate::evaluate::{Predictions, Progress};
use crate::gpu::GpuError;
use crate::ranks::gather;

impl Trainer<'_> {
    /// Tests in as many parts as there are shards, each with totals of its own, so that the sums do not depend on the number of
    /// ranks.
    pub(super) async fn test_shards(
        &mut self,
        images: &Images,
        last: usize,
        mut tick: impl FnMut(usize),
    ) -> Result<(Progress, Predictions), GpuError> {
        let batches = self.evaluator.batches(images);
        let shards = self.evaluator.memory.shards.clone();
        let ranks = self.exchanger.ranks;
        let mut own = Vec::new();
        for shard in shards.own {
            let part = shard * batches / shards.count..(shard + 1) * batches / shards.count;
            let found = self.evaluator.test_part(images, last, part, &mut tick);
            own.push(found.await?);
        }
        let mut totals = [0.0; 16];
        let mut predictions = Predictions::default();
        for part in gather(ranks, &encode_parts(&own)) {
            let images = bytemuck::pod_collect_to_vec(&part);
            decode_parts(
                &images,
                self.evaluator.model().classes,
                (&mut totals, &mut predictions),
            );
        }
        let totals = totals.map(|total: f64| total as f32);
        let (progress, _) = self.evaluator.progress_of(&totals).await?;
        Ok((progress, predictions))
    }
}

/// Results of tests as numbers: of each part its totals, how many images have predictions, and of each image its class and the
/// probabilities of all.
fn encode_parts(parts: &[(Vec<f32>, Predictions)]) -> Vec<u8> {
    let mut numbers = Vec::new();
    for (totals, predictions) in parts {
        numbers.extend(totals);
        numbers.push(predictions.class.len() as f32);
        for (class, probabilities) in predictions.class.iter().zip(&predictions.probabilities) {
            numbers.push(f32::from(*class));
            numbers.extend(probabilities);
        }
    }
    bytemuck::pod_collect_to_vec(&numbers)
}

/// Adds what [`encode_parts`] made.
fn decode_parts(
    numbers: &[f32],
    classes: usize,
    (totals, predictions): (&mut [f64; 16], &mut Predictions),
) {
    let mut rest = numbers;
    while let Some((head, behind)) = rest.split_at_checked(17) {
        for (total, more) in totals.iter_mut().zip(head) {
            *total += f64::from(*more);
        }
        let (images, behind) = behind.split_at(head[16] as usize * (1 + classes));
        for image in images.chunks(1 + classes) {
            predictions.class.push(image[0] as u16);
            predictions.probabilities.push(image[1..].to_vec());
        }
        rest = behind;
    }
}
