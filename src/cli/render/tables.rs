//! Tables: the columns that a screen has room for, and free text below its row where there is none beside it.

use super::screen::{INDENT, Screen, Tone, columns_of};

/// Blanks between two columns.
const GAP: usize = 2;

/// How the cells of a column look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Text,
    /// To the right, so that digits stand below digits.
    Number,
    /// A word, in the colour of what it says.
    Status,
    /// A sentence: below its row where it does not fit.
    Sentence,
    /// A word that says nothing without its head: below its row, behind that, where it does not fit.
    Word,
    /// A bar of `-`, `~` and `+`: below its row where it does not fit, and then its head, which explains the signs, below the others.
    Bar,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    head: &'static str,
    look: Look,
    /// 0: always shown; else left out where there is no room, those of the highest rank first.
    rank: u8,
}

impl Column {
    /// A column that is always shown, under its head.
    #[must_use]
    pub const fn new(head: &'static str) -> Self {
        Self { head, look: Look::Text, rank: 0 }
    }

    /// A column of numbers.
    #[must_use]
    pub const fn number(head: &'static str) -> Self {
        Self { head, look: Look::Number, rank: 0 }
    }

    /// A column of words that say how something is.
    #[must_use]
    pub const fn status(head: &'static str) -> Self {
        Self { head, look: Look::Status, rank: 0 }
    }

    /// A column of sentences: reasons, notes, messages.
    #[must_use]
    pub const fn sentence(head: &'static str) -> Self {
        Self { head, look: Look::Sentence, rank: 0 }
    }

    /// A column of words, such as names, that may stand below their rows.
    #[must_use]
    pub const fn word(head: &'static str) -> Self {
        Self { head, look: Look::Word, rank: 0 }
    }

    /// A column of bars.
    #[must_use]
    pub const fn bar(head: &'static str) -> Self {
        Self { head, look: Look::Bar, rank: 0 }
    }

    /// The same, left out where there is no room: those of the highest rank first.
    #[must_use]
    pub const fn less(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    const fn may_stand_below(self) -> bool {
        matches!(self.look, Look::Sentence | Look::Word | Look::Bar)
    }
}

impl From<&'static str> for Column {
    fn from(head: &'static str) -> Self {
        Self::new(head)
    }
}

impl Screen {
    /// A table. Where there is no limit to a line, it has all columns.
    #[must_use]
    pub fn table<C: Into<Column>, const N: usize>(
        &self,
        head: [C; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> String {
        let head: Vec<Column> = head.into_iter().map(Into::into).collect();
        let one_line = |cell: String| if cell.contains('\n') { cell.replace('\n', " ") } else { cell };
        let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.into_iter().map(one_line).collect()).collect();
        Laid::out(*self, &head, &rows).lines(&rows).join("\n").trim_end().to_owned()
    }
}

/// A column with its place in a row, and the columns of the screen that it takes.
#[derive(Debug, Clone, Copy)]
struct Placed {
    at: usize,
    column: Column,
    width: usize,
}

/// Which columns are shown, and where.
struct Laid {
    screen: Screen,
    beside: Vec<Placed>,
    below: Vec<Placed>,
    /// Too little room even so: a line for each cell.
    stacked: bool,
}

impl Laid {
    fn out(screen: Screen, head: &[Column], rows: &[Vec<String>]) -> Self {
        let widest = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| columns_of(cell)).max();
        let placed = head.iter().enumerate().map(|(at, column)| {
            let width = widest(at).unwrap_or_default().max(columns_of(column.head));
            Placed { at, column: *column, width }
        });
        let all: Vec<Placed> = placed.collect();
        let mut laid = Self { screen, beside: all.clone(), below: Vec::new(), stacked: false };
        let Some(room) = screen.width() else { return laid };
        if laid.width() > room {
            (laid.below, laid.beside) = all.iter().copied().partition(|placed| placed.column.may_stand_below());
        }
        while laid.width() > room {
            let least = laid.beside.iter().filter(|placed| placed.column.rank > 0).max_by_key(|p| p.column.rank);
            let Some(least) = least.map(|placed| placed.at) else {
                return Self { screen, beside: all, below: Vec::new(), stacked: true };
            };
            laid.beside.retain(|placed| placed.at != least);
        }
        laid
    }

    fn width(&self) -> usize {
        let gaps = GAP * self.beside.len().saturating_sub(1);
        self.beside.iter().map(|placed| placed.width).sum::<usize>() + gaps
    }

    fn lines(&self, rows: &[Vec<String>]) -> Vec<String> {
        if self.stacked {
            return rows.iter().map(|row| self.one_below_the_other(row)).collect();
        }
        let mut lines = vec![self.line(|placed| (Tone::Head, placed.column.head.to_owned()))];
        let bars = self.below.iter().filter(|placed| placed.column.look == Look::Bar);
        lines.extend(
            bars.map(|placed| format!("{:INDENT$}{}", "", self.painted(placed, Tone::Head, placed.column.head))),
        );
        for row in rows {
            lines.push(self.line(|placed| (tone(placed, row), cell(row, placed).to_owned())));
            let below = self.below.iter().filter(|placed| !cell(row, placed).is_empty());
            lines.extend(below.map(|placed| {
                let text = self.painted(placed, Tone::Plain, cell(row, placed));
                let head = if placed.column.look == Look::Word {
                    placed.column.head.to_lowercase() + " "
                } else {
                    String::new()
                };
                self.screen.step(&" ".repeat(INDENT), &(head + &text))
            }));
        }
        lines
    }

    /// A line of the table: what each column has, in its tone.
    fn line(&self, content: impl Fn(&Placed) -> (Tone, String)) -> String {
        let cells = self.beside.iter().map(|placed| {
            let (tone, text) = content(placed);
            let blanks = " ".repeat(placed.width.saturating_sub(columns_of(&text)));
            let text = self.painted(placed, tone, &text);
            if placed.column.look == Look::Number { format!("{blanks}{text}") } else { format!("{text}{blanks}") }
        });
        cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    }

    fn painted(&self, placed: &Placed, tone: Tone, text: &str) -> String {
        if placed.column.look != Look::Bar || tone == Tone::Head {
            return self.screen.paint(tone, text);
        }
        let signs = [('-', Tone::Bad), ('~', Tone::Mind), ('+', Tone::Good)];
        let run = |(sign, tone): (char, Tone)| {
            let run: String = text.chars().filter(|c| *c == sign).collect();
            self.screen.paint(tone, &run)
        };
        signs.map(run).concat()
    }

    /// A row that no screen of this width has room for, a cell a line.
    fn one_below_the_other(&self, row: &[String]) -> String {
        let widest = self.beside.iter().map(|placed| columns_of(placed.column.head)).max().unwrap_or_default();
        let filled = self.beside.iter().filter(|placed| !cell(row, placed).is_empty());
        let lines = filled.map(|placed| {
            let head = format!("{:<widest$}  ", placed.column.head);
            let text = self.painted(placed, tone(placed, row), cell(row, placed));
            self.screen.beside(&head, &text)
        });
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }
}

fn cell<'a>(row: &'a [String], placed: &Placed) -> &'a str {
    row.get(placed.at).map_or("", String::as_str)
}

fn tone(placed: &Placed, row: &[String]) -> Tone {
    if placed.column.look == Look::Status { Tone::of(cell(row, placed)) } else { Tone::Plain }
}

#[cfg(test)]
mod tests {
    use super::Column;
    use crate::cli::render::screen::{Screen, columns_of};

    fn table(width: Option<usize>, colour: bool) -> String {
        let head = [
            Column::new("SET"),
            Column::status("STATUS"),
            Column::number("KEYS").less(1),
            Column::number("BYTES").less(2),
            Column::sentence("NOTE"),
        ];
        let rows = [["b-1", "whole", "12", "2048", ""], ["b-2", "damaged", "1200", "9", "its data is cut at byte 7"]];
        Screen::new(width, colour).table(head, rows.map(|row| row.map(str::to_owned)))
    }

    /// Without a limit every row is one line; where there is one, sentences go below their rows first, then columns go by their rank.
    #[test]
    fn columns_go_by_their_rank() {
        let whole = [
            "SET  STATUS   KEYS  BYTES  NOTE",
            "b-1  whole      12   2048",
            "b-2  damaged  1200      9  its data is cut at byte 7",
        ];
        assert_eq!(table(None, false), whole.join("\n"));
        assert_eq!(table(Some(52), false), whole.join("\n"));
        let below = [
            "SET  STATUS   KEYS  BYTES",
            "b-1  whole      12   2048",
            "b-2  damaged  1200      9",
            "    its data is cut at byte 7",
        ];
        assert_eq!(table(Some(51), false), below.join("\n"));
        let fewer =
            ["SET  STATUS   KEYS", "b-1  whole      12", "b-2  damaged  1200", "    its data is cut", "    at byte 7"];
        assert_eq!(table(Some(20), false), fewer.join("\n"));
        let stacked = table(Some(11), false);
        assert!(stacked.starts_with("SET     b-1\nSTATUS\n    whole\nKEYS    12\n"), "{stacked}");
    }

    /// What stands below its row is not a riddle: a name has its head there, and the signs of a bar are explained.
    #[test]
    fn what_stands_below_explains_itself() {
        let head = || [Column::new("PLAN"), Column::word("ASKED BY"), Column::bar("-lost +added")];
        let row = || [["p-1", "somebody", "--+"].map(str::to_owned)];
        let wide = ["PLAN  ASKED BY  -lost +added", "p-1   somebody  --+"];
        assert_eq!(Screen::new(Some(28), false).table(head(), row()), wide.join("\n"));
        let narrow = ["PLAN", "    -lost +added", "p-1", "    asked by somebody", "    --+"];
        assert_eq!(Screen::new(Some(27), false).table(head(), row()), narrow.join("\n"));
    }

    /// A colour moves nothing.
    #[test]
    fn colours_take_no_room() {
        let plain = table(Some(20), false);
        let painted = table(Some(20), true);
        assert_ne!(plain, painted);
        let widths = |text: &str| text.lines().map(columns_of).collect::<Vec<_>>();
        assert_eq!(widths(&plain), widths(&painted));
    }
}
