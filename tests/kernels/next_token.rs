//! The kernels that choose the next token.

use burn::tensor::{Device, Int, Tensor};
use instructblip_web::kernels::{self, ProcessLogits, TokenHistory, Warp, words_tensor};

use super::{Random, assert_close, devices, tensor, words};

/// What no kernel writes.
const UNTOUCHED: u32 = 0xdead_beef;

/// Widths below, at and above a workgroup, and the real vocabulary's.
const WIDTHS: [usize; 7] = [1, 2, 63, 255, 256, 257, 32128];

fn bits(values: &[f32], device: &Device) -> Tensor<1, Int> {
    words_tensor(values.iter().map(|value| value.to_bits()).collect(), device)
}

#[test]
fn argmax_takes_the_first_of_equals() {
    let mut random = Random(6);
    for _ in 0..30 {
        let (rows, width) = (1 + random.below(10), random.one_of(&WIDTHS));
        // Few distinct values, so that ties happen.
        let x: Vec<f32> = (0..rows * width).map(|_| random.below(7) as f32 - 9.0).collect();
        let position = random.below(5);
        let [gpu, cpu] = devices().map(|device| {
            let (history, at) = history(rows, position, &device);
            let chosen = kernels::argmax(&tensor(&x, [rows, width], &device), history, &at);
            line_after(position, chosen)
        });
        let what = format!("argmax [{rows}, {width}]");
        assert_eq!(gpu[..rows], cpu[..rows], "{what}");
        assert_close(&gpu[rows..], &cpu[rows..], &what);
        let first = (0..width).find(|i| x[..width].iter().all(|y| *y <= x[*i])).unwrap();
        assert_eq!(cpu[0] as usize, first);
    }
}

/// Texts with a few lines more than there are tokens, and the position of the last token.
fn history(rows: usize, position: usize, device: &Device) -> (TokenHistory, Tensor<1, Int>) {
    let lines = vec![UNTOUCHED; TokenHistory::line(position + 2, rows).end];
    let history = TokenHistory::new(words_tensor(lines, device), rows);
    (history, words_tensor(vec![position as u32], device))
}

/// The line that was written: ids, then bits of log-probabilities. No other line may be.
fn line_after(position: usize, history: TokenHistory) -> Vec<u32> {
    let line = TokenHistory::line(position + 1, history.rows());
    let words = words(history.into_words());
    for (i, word) in words.iter().enumerate().filter(|(i, _)| !line.contains(i)) {
        assert_eq!(*word, UNTOUCHED, "word {i} was written");
    }
    words[line].to_vec()
}

#[test]
fn process_logits_equals_its_oracle() {
    let mut random = Random(8);
    for case in 0..40 {
        let (rows, width) = (1 + random.below(10), random.one_of(&WIDTHS));
        let logits: Vec<f32> = random.values(rows * width).iter().map(|x| x * 8.0).collect();
        let length = 1 + random.below(300);
        // Repeated tokens, and one that is none.
        let mut history: Vec<u32> =
            (0..2 * rows * length).map(|_| random.below(width + 1) as u32).collect();
        // What comes after the position does not count.
        history.extend((0..4 * rows).map(|_| random.below(width) as u32));
        let bans: Vec<u32> =
            (0..1 + random.below(40)).map(|_| random.below(rows * width + 3) as u32).collect();
        let penalty = random.one_of(&[0.7, 1.0, 1.5]);
        let normalize = case % 2 == 0;
        let run = |device: &_| {
            kernels::process_logits(&ProcessLogits {
                logits: &tensor(&logits, [rows, width], device),
                normalize,
                history: &TokenHistory::new(words_tensor(history.clone(), device), rows),
                position: &words_tensor(vec![length as u32 - 1], device),
                penalty,
                bans: &words_tensor(bans.clone(), device),
            })
        };
        let [gpu, cpu] = devices().map(|device| {
            let data = run(&device).into_data();
            data.as_slice::<f32>().unwrap().to_vec()
        });
        for (a, b) in gpu.iter().zip(&cpu) {
            // Banned values are equal; the others lie within some tens.
            assert!(a == b || (a - b).abs() < 1e-4, "[{rows}, {width}] {normalize}: {a}, {b}");
        }
        let banned = bans.iter().filter_map(|ban| gpu.get(*ban as usize));
        assert!(banned.into_iter().all(|value| *value == f32::MIN));
    }
}

#[test]
fn top_k_orders_the_candidates_of_all_rows() {
    let mut random = Random(9);
    for case in 0..40 {
        let (rows, width) = (1 + random.below(10), random.one_of(&WIDTHS));
        let k = 2 * rows;
        // Every other case has ties, within rows and between them.
        let scores: Vec<f32> = if case % 2 == 0 {
            random.values(rows * width)
        } else {
            (0..rows * width).map(|_| random.below(5) as f32).collect()
        };
        let mut offsets: Vec<f32> = (0..rows).map(|_| -(random.below(3) as f32)).collect();
        if case % 5 == 0 {
            offsets[1..].fill(-1e9);
        }
        let [gpu, cpu] = devices().map(|device| {
            let scores = tensor(&scores, [rows, width], &device);
            words(kernels::top_k(&scores, &bits(&offsets, &device), k))
        });
        assert_eq!(gpu, cpu, "{k} of [{rows}, {width}]");
        let values: Vec<f32> = cpu.chunks(2).map(|pair| f32::from_bits(pair[1])).collect();
        assert!(values.is_sorted_by(|a, b| a >= b));
    }
}

#[test]
fn nothing_is_chosen_among_what_is_no_number() {
    for device in devices() {
        let scores = tensor(&[f32::NAN; 20], [2, 10], &device);
        let chosen = words(kernels::top_k(&scores, &bits(&[0.0; 2], &device), 4));
        let number = |pair: &[u32]| pair[0] < 20 && !f32::from_bits(pair[1]).is_nan();
        assert!(!chosen.chunks(2).any(number), "{chosen:?}");
    }
}

#[test]
fn sample_equals_its_oracle() {
    let mut random = Random(10);
    let mut different = 0;
    for _ in 0..60 {
        let (rows, width) = (1 + random.below(10), random.one_of(&WIDTHS));
        let scores: Vec<f32> = random.values(rows * width).iter().map(|x| x * 4.0).collect();
        let draws: Vec<f32> = (0..rows).map(|_| random.below(1000) as f32 / 1000.0).collect();
        let warp = Warp {
            temperature: random.one_of(&[0.3, 1.0, 1.7]),
            top_k: random.one_of(&[0, 1, 5, 50, 40_000]),
            top_p: random.one_of(&[0.0, 0.5, 0.9, 1.0]),
        };
        let position = random.below(5);
        let [gpu, cpu] = devices().map(|device| {
            let scores = tensor(&scores, [rows, width], &device);
            let (history, at) = history(rows, position, &device);
            let chosen = kernels::sample(&scores, &bits(&draws, &device), warp, history, &at);
            line_after(position, chosen)
        });
        for row in 0..rows {
            if gpu[row] == cpu[row] {
                let (gpu, cpu) = (&gpu[rows + row..][..1], &cpu[rows + row..][..1]);
                assert_close(gpu, cpu, &format!("[{rows}, {width}] {warp:?}"));
            } else {
                different += 1;
            }
        }
    }
    // The oracle adds in f64: a draw within 1e-6 of an edge may fall on its other side.
    assert!(different <= 2, "{different} draws differ");
}

#[test]
fn log_probability_equals_its_oracle() {
    let mut random = Random(11);
    for _ in 0..20 {
        let (rows, width) = (1 + random.below(40), random.one_of(&WIDTHS));
        let logits: Vec<f32> = random.values(rows * width).iter().map(|x| x * 8.0).collect();
        // One id beyond the row is padding.
        let ids: Vec<u32> = (0..rows).map(|_| random.below(width + 1) as u32).collect();
        let [gpu, cpu]: [Vec<u32>; 2] = devices().map(|device| {
            let logits = tensor(&logits, [rows, width], &device);
            let values = kernels::log_probability(&logits, &words_tensor(ids.clone(), &device));
            values.into_data().as_slice::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
        });
        assert_close(&gpu, &cpu, &format!("log-probability [{rows}, {width}]"));
    }
}
