//! The figures that bars name: `benches/record/<date>-<machine>.csv`, rows `name,value,unit,floor,ratio`.
//! `benches/compare` reads the same rows from standard output, and has the file put elsewhere ([`FOLDER_VARIABLE`]).

use std::fs;
use std::path::{Path, PathBuf};

use crate::machine;

const HEADER: &str = "name,value,unit,floor,ratio";

/// Names the folder of the file; where it is not set, that is `benches/record`.
pub const FOLDER_VARIABLE: &str = "TURNSTILE_BENCH_RECORD_DIR";

/// One figure beside its floor.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What bars call it.
    pub name: &'static str,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What the barest program that does the unavoidable part reaches, in the same unit and run; `None` where there is
    /// nothing to compare with.
    pub floor: Option<f64>,
}

impl Row {
    /// Value over floor.
    pub fn ratio(&self) -> Option<f64> {
        self.floor.map(|floor| self.value / floor)
    }

    /// As it stands in the record.
    pub fn line(&self) -> Line {
        self.line_with(self.ratio())
    }

    fn line_with(&self, ratio: Option<f64>) -> Line {
        let number = |value: Option<f64>, digits| value.map_or_else(String::new, |value| format!("{value:.digits$}"));
        let digits = if self.value < 100.0 { 2 } else { 0 };
        let (value, floor) = (number(Some(self.value), digits), number(self.floor, digits));
        Line { name: self.name, text: format!("{},{value},{},{floor},{}", self.name, self.unit, number(ratio, 3)) }
    }
}

/// A figure and its floor, measured by turns, round after round. The machine's speed changes from one second to the next
/// for both, so their ratio is the median of the rounds' ratios, and not the ratio of the medians.
#[derive(Debug, Clone)]
pub struct Rounds {
    /// What bars call it.
    pub name: &'static str,
    /// The unit of both.
    pub unit: &'static str,
    /// Figure and floor of each round.
    pub rounds: Vec<(f64, f64)>,
}

impl Rounds {
    /// As it stands in the record.
    ///
    /// # Panics
    /// Where there is no round.
    pub fn line(&self) -> Line {
        let of = |figure: fn(&(f64, f64)) -> f64| median(self.rounds.iter().map(figure).collect());
        let (value, floor) = (of(|round| round.0), Some(of(|round| round.1)));
        Row { name: self.name, value, unit: self.unit, floor }.line_with(Some(of(|round| round.0 / round.1)))
    }
}

/// A line of the record.
#[derive(Debug, Clone)]
pub struct Line {
    name: &'static str,
    text: String,
}

/// The one in the middle.
///
/// # Panics
/// Where there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the rows and puts them into today's file, in place of rows of the same names.
///
/// # Panics
/// Where the file cannot be written.
pub fn keep(rows: &[Row]) {
    keep_lines(&rows.iter().map(Row::line).collect::<Vec<_>>());
}

/// The same for lines.
///
/// # Panics
/// As [`keep`].
pub fn keep_lines(lines: &[Line]) {
    let path = path();
    let old = fs::read_to_string(&path).unwrap_or_default();
    let text = merged(&old, lines);
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("the record's folder");
    fs::write(&path, text).expect("the record can be written");
    println!("{HEADER}");
    for line in lines {
        println!("{}", line.text);
    }
}

/// The wall clock, milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |time| time.as_millis() as i64)
}

fn path() -> PathBuf {
    let date = jiff::Timestamp::from_millisecond(now_ms()).expect("a clock between year 1 and 9999");
    let folder = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("record"));
    folder.join(format!("{}-{}.csv", date.strftime("%Y-%m-%d"), machine::name()))
}

fn merged(old: &str, new: &[Line]) -> String {
    let replaced = |line: &&str| new.iter().any(|new| line.split(',').next() == Some(new.name));
    let kept = old.lines().skip(1).filter(|line| !replaced(line)).map(str::to_owned);
    let mut lines: Vec<_> = kept.chain(new.iter().map(|line| line.text.clone())).collect();
    lines.sort();
    lines.insert(0, HEADER.to_owned());
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_figure_takes_the_place_of_the_old_one() {
        let row = |name, value, floor| Row { name, value, unit: "1/s", floor }.line();
        let old = merged("", &[row("b", 50.0, Some(100.0)), row("a", 1234.5, None)]);
        assert_eq!(old, "name,value,unit,floor,ratio\na,1234,1/s,,\nb,50.00,1/s,100.00,0.500\n");
        let new = merged(&old, &[row("b", 75.0, Some(100.0))]);
        assert_eq!(new, "name,value,unit,floor,ratio\na,1234,1/s,,\nb,75.00,1/s,100.00,0.750\n");
    }

    #[test]
    fn the_ratio_of_rounds_is_that_of_a_round() {
        // Each median alone is 20.
        let rounds = vec![(10.0, 20.0), (20.0, 40.0), (30.0, 20.0), (40.0, 10.0), (10.0, 20.0)];
        let line = Rounds { name: "a", unit: "1/s", rounds }.line();
        assert_eq!(line.text, "a,20.00,1/s,20.00,0.500");
    }
}
