//! The markdown table: one row a metric, one column a target, the judged figure and its bar.

use std::fmt;

/// What a figure must keep.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

/// The columns, in the order of the targets.
pub(crate) const COLUMNS: [&str; 4] = ["direct", "haproxy", "dockgate", "dockgate, no policy"];

pub(crate) struct Row {
    metric: String,
    cells: [String; 4],
    judged: Option<f64>,
    /// The least and the most of the rounds, when there were several.
    range: Option<(f64, f64)>,
    unit: &'static str,
    bar: Option<Bar>,
}

impl Row {
    pub(crate) fn new(metric: impl Into<String>, cells: [String; 4]) -> Self {
        Self { metric: metric.into(), cells, judged: None, range: None, unit: "", bar: None }
    }

    /// The figure that counts, with its unit (none for a ratio).
    pub(crate) fn judge(
        mut self,
        value: Option<f64>,
        unit: &'static str,
        bar: Option<Bar>,
    ) -> Self {
        (self.judged, self.unit, self.bar) = (value, unit, bar);
        self
    }

    /// The same for one figure a round: the median counts, the range is shown.
    pub(crate) fn judge_all(self, rounds: &[f64], unit: &'static str, bar: Option<Bar>) -> Self {
        let least = rounds.iter().copied().reduce(f64::min);
        let most = rounds.iter().copied().reduce(f64::max);
        let mut row = self.judge(median(rounds.iter().copied()), unit, bar);
        row.range = least.zip(most);
        row
    }

    pub(crate) fn missed(&self) -> bool {
        matches!((self.bar, self.judged), (Some(bar), Some(value)) if !bar.holds(value))
    }
}

pub(crate) fn header() -> String {
    let columns = COLUMNS.join(" | ");
    format!("| metric | {columns} | ratio or figure | bar | |\n|---|--:|--:|--:|--:|--:|--:|---|")
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit;
        let mut judged = self.judged.map_or(String::new(), |v| format!("{}{unit}", figure(v)));
        if let Some((least, most)) = self.range {
            judged = format!("{judged} ({}…{})", figure(least), figure(most));
        }
        let (bar, verdict) = match (self.bar, self.judged) {
            (None, _) => (String::new(), ""),
            (Some(bar), value) => (
                match bar {
                    Bar::AtMost(limit) => format!("≤ {limit}{unit}"),
                    Bar::AtLeast(limit) => format!("≥ {limit}{unit}"),
                },
                match value {
                    None => "not run",
                    Some(value) if bar.holds(value) => "ok",
                    Some(_) => "**MISSED**",
                },
            ),
        };
        let cells = self.cells.join(" | ");
        write!(f, "| {} | {cells} | {judged} | {bar} | {verdict} |", self.metric)
    }
}

/// Three significant digits, more for large numbers.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The middle value; `None` without values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values.get(middle).copied()
    } else {
        Some((values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0)
    }
}

/// `a / b`, round by round: what disturbs a round disturbs both.
pub(crate) fn ratios(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a / b).collect()
}
