//! Products as steps of the engine: how their inputs must lie, and the loops over windows and groups of lanes.

use super::plan::{Micro, Place, Plan, Work};
use crate::export::{ExportError, Step};
use crate::op::ConvShape;

impl Plan<'_> {
    /// A convolution, a dense layer or a batch normalisation.
    pub(super) fn product(
        &mut self,
        number: usize,
        step: &Step<'_>,
        shape: &ConvShape,
        groups: usize,
    ) -> Result<(), ExportError> {
        let found = self.values[&step.reads[0].value];
        let mut shape = *shape;
        let flattened = self.places[found].clone();
        let same = flattened.sides == [shape.input_height, shape.input_width, shape.input_channels];
        let numbers = shape.input_height * shape.input_width * shape.input_channels;
        let covers = shape.output_height() * shape.output_width() == 1
            && [shape.kernel_height, shape.kernel_width] == [shape.input_height, shape.input_width]
            && shape.padding == [0, 0];
        let mut place = if !same
            && covers
            && groups == 1
            && flattened.sides.iter().product::<usize>() == numbers
        {
            // A dense layer over a flattened image is a kernel as large as that image.
            let [height, width, channels] = flattened.sides;
            (shape.input_height, shape.input_width, shape.input_channels) =
                (height, width, channels);
            (shape.kernel_height, shape.kernel_width) = (height, width);
            found
        } else {
            self.read(step, step.reads[0])?
        };
        let mut from = self.places[place].clone();
        let ready = |from: &Place, inputs: usize| {
            from.pixel.is_multiple_of(inputs)
                && (from.clean || from.sides[2].is_multiple_of(inputs))
        };
        let mut across = shape.stride;
        if covers && from.dense() && !ready(&from, self.inputs) && groups == 1 {
            // One long row of numbers.
            let numbers: usize = from.sides.iter().product();
            place = self.renamed(place, [1, 1, numbers]);
            from = self.places[place].clone();
            (shape.input_height, shape.input_width, shape.input_channels) = (1, 1, numbers);
            (shape.kernel_height, shape.kernel_width) = (1, 1);
            if !ready(&from, self.inputs) {
                place = self.cleaned(number, place);
                from = self.places[place].clone();
            }
        } else if !ready(&from, self.inputs) {
            let taps = shape.kernel_width * from.sides[2];
            let narrow = taps.div_ceil(self.inputs)
                < shape.kernel_width * from.sides[2].div_ceil(self.inputs);
            if groups == 1 && narrow {
                place = self.unfolded(number, place, &mut shape);
                across = 1;
            } else {
                place = self.cleaned(number, place);
            }
            from = self.places[place].clone();
        }
        self.windowed_product(number, step, &shape, [groups, across], (place, &from))
    }

    /// Copies rows of a window side by side into pixels, so that a convolution over few channels fills words.
    fn unfolded(&mut self, number: usize, place: usize, shape: &mut ConvShape) -> usize {
        let from = self.places[place].clone();
        let columns = shape.output_width();
        let taps = shape.kernel_width;
        let channels = taps * from.sides[2];
        let copy = self.add_place([from.sides[0], columns, channels], self.padded(channels));
        for tap in 0..taps {
            let first = [tap as i64 - shape.padding[1] as i64, 0];
            self.copy(
                number,
                place,
                copy,
                tap * from.sides[2],
                first,
                shape.stride,
                taps,
            );
        }
        shape.input_width = columns;
        shape.input_channels = channels;
        shape.kernel_width = 1;
        shape.padding[1] = 0;
        copy
    }

    fn windowed_product(
        &mut self,
        number: usize,
        step: &Step<'_>,
        shape: &ConvShape,
        [groups, across]: [usize; 2],
        (place, from): (usize, &Place),
    ) -> Result<(), ExportError> {
        let pool = self.pools.get(&step.gives).copied().unwrap_or([1, 1]);
        let [height, width, _] = from.sides;
        let words = from.pixel / self.inputs;
        let to = self.output(number, step.shape.sides());
        let outputs = shape.output_channels;
        let written = match to {
            Some(_) => self.padded(outputs),
            None => outputs,
        };
        let lane_groups = written.div_ceil(self.lanes);
        let (words_apart, read) = self.words_of(shape, groups, words, lane_groups);
        let out = [step.shape.height * pool[0], step.shape.width * pool[1]];
        let covers = out == [1, 1]
            && groups == 1
            && [shape.kernel_height, shape.kernel_width] == [height, width]
            && shape.padding == [0, 0];
        let pixel = from.pixel as i64;
        let row = width as i64 * pixel;
        let step_inputs = self.inputs as i64;
        let (counts, strides) = match covers {
            true => (
                [height * width * words, 1, 1, lane_groups, 1, 1],
                [step_inputs, 0, 0, 0, 0, 0],
            ),
            false => (
                [
                    read,
                    shape.kernel_width,
                    shape.kernel_height,
                    lane_groups,
                    out[1],
                    out[0],
                ],
                [
                    step_inputs,
                    pixel,
                    row,
                    words_apart as i64 * step_inputs,
                    across as i64 * pixel,
                    shape.stride as i64 * row,
                ],
            ),
        };
        let [top, left] = shape.padding.map(|p| p as i64);
        let beyond = shape.padding != [0, 0];
        self.push(Micro {
            step: number,
            work: Work::Product {
                groups,
                words_apart,
            },
            from: (place, -(top * row + left * pixel)),
            second: None,
            counts,
            strides,
            first: [-left, -top],
            apart: [across, shape.stride],
            image: beyond.then_some([width, height]),
            to,
            written: [written, outputs],
            pool,
            limits: step.limits,
        });
        Ok(())
    }

    /// How many words after that of the one before each group of lanes begins to read, and how many words it reads.
    fn words_of(
        &self,
        shape: &ConvShape,
        groups: usize,
        words: usize,
        lane_groups: usize,
    ) -> (usize, usize) {
        if groups == 1 {
            return (0, words);
        }
        let read = shape.input_channels / groups;
        let group_outputs = shape.output_channels / groups;
        let ends = |lanes: usize| {
            let most = shape.output_channels - 1;
            let first = (lanes * self.lanes).min(most);
            let last = (lanes * self.lanes + self.lanes - 1).min(most);
            let begin = first / group_outputs * read / self.inputs;
            let end = ((last / group_outputs + 1) * read).div_ceil(self.inputs);
            [begin, end]
        };
        let apart = (1..lane_groups).map(|lanes| ends(lanes)[0] / lanes).min();
        let apart = apart.unwrap_or(0);
        let read = (0..lane_groups)
            .map(|lanes| ends(lanes)[1] - lanes * apart)
            .max();
        (apart, read.unwrap_or(words))
    }
}
