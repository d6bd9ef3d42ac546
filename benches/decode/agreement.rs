//! Whether all contenders give the same values for the same frames.

use std::collections::HashMap;
use std::fmt;

use canvoy::dbc::{Codec, Decoder, Message};

use super::Record;
use super::peers::Members;

/// Values compared, and those that differ.
#[derive(Default)]
pub struct Agreement {
    compared: usize,
    by_c: usize,
    by_python: usize,
    differing: usize,
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Agreement { compared, by_c, by_python, differing } = self;
        write!(f, "{compared} the same in every form of ours, {by_c} compared with C, {by_python} with Python, ")?;
        if *differing == 0 { f.write_str("all agree") } else { write!(f, "{differing} DIFFER") }
    }
}

/// The tolerance between exact arithmetic, fused and separate multiply and add: 4 * 2^-53 * (|raw * factor| + |offset|).
fn agrees(codec: &Codec, payload: &[u8], got: f64, want: f64) -> bool {
    let Some(raw) = codec.raw(payload) else { return false };
    let allowed = 2.0 * f64::EPSILON * ((raw.as_f64() * codec.factor).abs() + codec.offset.abs());
    (got.is_nan() && want.is_nan()) || got == want || (got - want).abs() <= allowed
}

fn number(bytes: &mut std::slice::Iter<u8>) -> f64 {
    let mut number = [0; 8];
    number.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    f64::from_le_bytes(number)
}

/// By frame: the bits of its values, by signal.
type Values = Vec<HashMap<usize, u64>>;

fn of_frames<const WIDTH: usize>(decoder: &Decoder, frames: &[Record<WIDTH>]) -> Values {
    let mut row = decoder.row::<f64>();
    let values = |frame: &Record<WIDTH>| {
        let decoded = decoder.decode(frame.id, frame.payload(), &mut row);
        decoded.map(|d| d.iter().map(|(signal, value)| (signal, value.to_bits())).collect()).unwrap_or_default()
    };
    frames.iter().map(values).collect()
}

fn of_tables<const WIDTH: usize>(decoder: &Decoder, frames: &[Record<WIDTH>]) -> Values {
    let mut values: Values = vec![HashMap::new(); frames.len()];
    decoder.batch(
        frames,
        |frame| (frame.id, frame.payload()),
        &mut decoder.batch_buffer(),
        |table| {
            for (column, signal) in table.signals.iter().enumerate() {
                for (frame, value) in table.frames.iter().zip(table.column(column)) {
                    values[*frame as usize].insert(*signal as usize, value.to_bits());
                }
            }
        },
    );
    values
}

/// Ours among each other, with the scalar codec, with C where it gave values, with Python where it did.
pub fn check<const WIDTH: usize>(
    messages: &[Message],
    members: &Members,
    frames: &[Record<WIDTH>],
    c: Option<&[u8]>,
    python: Option<&[u8]>,
) -> Agreement {
    let (decoder, portable) = (Decoder::new(messages), Decoder::portable(messages));
    let of_message: HashMap<_, _> = messages.iter().map(|message| (message.id, message)).collect();
    let ours = of_frames(&decoder, frames);
    let others = [of_frames(&portable, frames), of_tables(&decoder, frames), of_tables(&portable, frames)];
    let (mut c, mut python) = (c.map(<[u8]>::iter), python.map(<[u8]>::iter));
    let mut agreement = Agreement::default();
    for (index, (frame, values)) in frames.iter().zip(&ours).enumerate() {
        let Some(message) = of_message.get(&frame.id) else { continue };
        let scalar: HashMap<usize, u64> = message
            .decode(frame.payload())
            .map(|(signal, raw)| (signal, message.signals[signal].codec.engineering(raw).to_bits()))
            .collect();
        agreement.compared += values.len();
        agreement.differing += usize::from(scalar != *values);
        agreement.differing += others.iter().filter(|other| other[index] != *values).count();
        for name in members.get(&frame.id.bits()).into_iter().flatten() {
            let signal = message.signals.iter().position(|signal| signal.name == *name || signal.dbc_name == *name);
            let value = signal.and_then(|signal| Some((signal, f64::from_bits(*values.get(&signal)?))));
            let is_same = |want| match value {
                Some((signal, value)) => agrees(&message.signals[signal].codec, frame.payload(), value, want),
                None => false,
            };
            if let Some(python) = &mut python {
                let is_present = python.next();
                let want = number(python);
                // 2: cantools can't decode the frame
                if is_present != Some(&2) {
                    let is_present = is_present == Some(&1);
                    agreement.by_python += usize::from(is_present);
                    let same = if is_present { is_same(want) } else { value.is_none() };
                    agreement.differing += usize::from(!same);
                }
            }
            if let Some(c) = &mut c {
                let want = number(c);
                // what C has for an absent signal means nothing
                agreement.by_c += usize::from(value.is_some());
                agreement.differing += usize::from(value.is_some() && !is_same(want));
            }
        }
    }
    agreement
}
