//! `cargo xtask accuracy`: how often the verdict is right, over scenarios whose truth is known.

#[path = "mod.rs"]
mod accuracy;

fn main() {
    for scenario in accuracy::catalogue::catalogue(accuracy::catalogue::SEED_DEFAULT) {
        let began = std::time::Instant::now();
        let run = accuracy::fast::run(&scenario);
        let o = run.outcome;
        println!(
            "{} {} | {:?} {:.2} at {} settled {} | leaked {:.2} floor {:?} found {} missed {} accused {} err {:?} | {:.1}s {}",
            if o.is_leaky { "LEAKY " } else { "honest" },
            o.name,
            o.said,
            o.confidence,
            o.ended_s,
            o.is_settled,
            o.leaked_per_s,
            o.floor_per_s,
            o.found,
            o.missed,
            o.accused,
            o.rate_error,
            began.elapsed().as_secs_f64(),
            run.reasons.first().cloned().unwrap_or_default()
        );
    }
}
