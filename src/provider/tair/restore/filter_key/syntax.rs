//! What an expression of `filter_key` is made of, from its syntax tree: what it matches that nobody means, and what other engines
//! read otherwise. It words nothing but the names of constructs.

use crate::model::text::quoted;
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassBracketed, ClassPerl, ClassPerlKind, ClassSet, ClassSetBinaryOpKind, ClassSetItem,
    ErrorKind, Flag, Flags, FlagsItemKind, GroupKind, HexLiteralKind, Literal, LiteralKind, Repetition, RepetitionKind,
    RepetitionRange,
};

/// How an item can be read.
pub enum Reading {
    /// As a regular expression.
    Read(Syntax),
    /// As one with something that some engines have and ours has not.
    Elsewhere(&'static str),
    /// As one whose braces are no repetition.
    Braces,
    /// Not at all, and why.
    Wrong(String),
}

/// What stands out in a regular expression.
#[derive(Default)]
pub struct Syntax {
    /// Whether it matches every key, or every key that is not empty.
    pub any: bool,
    /// Whether it matches the empty text.
    pub empty: bool,
    /// Whether it has nothing but what a glob has too.
    pub plain: bool,
    /// The first star or question mark behind a plain character.
    pub glob: Option<Wildcard>,
    /// The first plain character that braces repeat, and how often.
    pub repeated: Option<(String, String)>,
    /// Whether a dot stands between characters of a name.
    pub dot_in_name: bool,
    /// Something that other engines read otherwise.
    pub odd: Option<&'static str>,
    /// Something that hardly any other engine has.
    pub ours_alone: Option<&'static str>,
}

/// A star or a question mark behind a plain character.
pub struct Wildcard {
    before: String,
    literal: char,
    at: usize,
    star: bool,
}

impl Wildcard {
    /// What it says as a regular expression: `"session" and any number of colons`.
    pub fn explain(&self) -> String {
        let literal = if self.literal == ':' { "colon".to_owned() } else { quoted(&self.literal.to_string()) };
        let before = quoted(&self.before);
        match (self.star, self.literal) {
            (true, ':') => format!("{before} and any number of colons, none included"),
            (true, _) => format!("{before} and any number of {literal}, none included"),
            (false, _) => format!("{before} and one {literal} or none"),
        }
    }

    /// The item with the wildcard as a regular expression has it.
    pub fn meant(&self, item: &str) -> String {
        let (before, behind) = item.split_at_checked(self.at).unwrap_or((item, ""));
        let rest = behind.get(1..).unwrap_or_default();
        format!("{before}{}{rest}", if self.star { ".*" } else { "." })
    }
}

/// The item with braces that are plain characters.
pub fn with_plain_braces(item: &str) -> String {
    let mut out = String::new();
    let mut escaped = false;
    for c in item.chars() {
        if matches!(c, '{' | '}') && !escaped {
            out.push('\\');
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// Reads an item.
pub fn read(item: &str) -> Reading {
    let failed = match Parser::new().parse(item) {
        Ok(ast) => {
            let plain = !item.contains(['+', '(', ')', '{', '}', '|', '^', '$', '\\'])
                && !item.contains(".*")
                && !item.contains("]*");
            let mut syntax = Syntax { any: is_any(&ast), empty: matches_empty(&ast), plain, ..Syntax::default() };
            syntax.look(item, &ast);
            return Reading::Read(syntax);
        }
        Err(failed) => failed,
    };
    match failed.kind() {
        ErrorKind::UnsupportedLookAround => Reading::Elsewhere("a look around"),
        ErrorKind::UnsupportedBackreference => Reading::Elsewhere("a reference to a group"),
        ErrorKind::EscapeUnrecognized => Reading::Elsewhere("an escape of some engines"),
        ErrorKind::FlagUnrecognized | ErrorKind::RepetitionMissing if item.contains("(?") || item.contains("(*") => {
            Reading::Elsewhere("a kind of group of some engines")
        }
        ErrorKind::RepetitionMissing
        | ErrorKind::RepetitionCountDecimalEmpty
        | ErrorKind::RepetitionCountUnclosed
        | ErrorKind::RepetitionCountInvalid
        | ErrorKind::DecimalInvalid
            if item.contains('{') && Parser::new().parse(&with_plain_braces(item)).is_ok() =>
        {
            Reading::Braces
        }
        why => Reading::Wrong(why.to_string()),
    }
}

/// Whether an expression says nothing of what it matches but perhaps how long that is.
fn is_any(ast: &Ast) -> bool {
    match ast {
        Ast::Empty(_) | Ast::Flags(_) | Ast::Dot(_) | Ast::Assertion(_) => true,
        Ast::Literal(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) => false,
        Ast::ClassBracketed(class) => is_every_character(class),
        Ast::Repetition(repeated) => is_any(&repeated.ast) && !matches!(repeated.op.kind, RepetitionKind::Range(_)),
        Ast::Group(group) => is_any(&group.ast),
        Ast::Alternation(either) => either.asts.iter().any(|ast| is_any(ast) && !matches!(ast, Ast::Empty(_))),
        Ast::Concat(all) => all.asts.iter().all(is_any),
    }
}

/// Whether a class has some characters and all others too, such as `[\s\S]`.
fn is_every_character(class: &ClassBracketed) -> bool {
    let ClassSet::Item(ClassSetItem::Union(union)) = &class.kind else { return false };
    let has = |wanted: &ClassPerlKind, negated: bool| {
        union.items.iter().any(|item| match item {
            ClassSetItem::Perl(ClassPerl { kind, negated: is, .. }) => kind == wanted && *is == negated,
            _ => false,
        })
    };
    let kinds = [ClassPerlKind::Digit, ClassPerlKind::Space, ClassPerlKind::Word];
    !class.negated && kinds.iter().any(|kind| has(kind, true) && has(kind, false))
}

/// Whether an expression matches the empty text.
fn matches_empty(ast: &Ast) -> bool {
    match ast {
        Ast::Empty(_) | Ast::Flags(_) | Ast::Assertion(_) => true,
        Ast::Literal(_) | Ast::Dot(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) => false,
        Ast::Repetition(repeated) => {
            let none = match &repeated.op.kind {
                RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore => true,
                RepetitionKind::OneOrMore => false,
                RepetitionKind::Range(
                    RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n) | RepetitionRange::Bounded(n, _),
                ) => *n == 0,
            };
            none || matches_empty(&repeated.ast)
        }
        Ast::Group(group) => matches_empty(&group.ast),
        Ast::Alternation(either) => either.asts.iter().any(matches_empty),
        Ast::Concat(all) => all.asts.iter().all(matches_empty),
    }
}

/// A character that stands for itself, without a backslash.
fn plain_character(ast: &Ast) -> Option<char> {
    match ast {
        Ast::Literal(literal) if literal.kind == LiteralKind::Verbatim => Some(literal.c),
        _ => None,
    }
}

impl Syntax {
    /// Takes note of what is anywhere in a tree. Its depth is bounded by the parser.
    fn look(&mut self, item: &str, ast: &Ast) {
        match ast {
            Ast::Empty(_) | Ast::Dot(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) => {}
            Ast::Flags(flags) => self.look_at_flags(&flags.flags),
            Ast::Literal(literal) => self.look_at_literal(literal),
            Ast::Assertion(assertion) => self.look_at_assertion(&assertion.kind),
            Ast::ClassBracketed(class) => self.look_at_class(&class.kind),
            Ast::Repetition(repeated) => {
                self.look_at_repetition(item, repeated);
                self.look(item, &repeated.ast);
            }
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.look_at_flags(flags);
                }
                self.look(item, &group.ast);
            }
            Ast::Alternation(either) => either.asts.iter().for_each(|ast| self.look(item, ast)),
            Ast::Concat(all) => {
                let names = |ast: &Ast| plain_character(ast).is_some_and(char::is_alphanumeric);
                self.dot_in_name |=
                    all.asts.windows(3).any(|three| matches!(three, [a, Ast::Dot(_), b] if names(a) && names(b)));
                all.asts.iter().for_each(|ast| self.look(item, ast));
            }
        }
    }

    fn look_at_repetition(&mut self, item: &str, repeated: &Repetition) {
        let Some(literal) = plain_character(&repeated.ast).filter(|_| repeated.greedy) else { return };
        let before = item.get(..repeated.span.start.offset).unwrap_or_default();
        match &repeated.op.kind {
            RepetitionKind::OneOrMore => {}
            RepetitionKind::Range(_) => {
                let op = item.get(repeated.op.span.start.offset..repeated.op.span.end.offset).unwrap_or_default();
                let times = format!("{} times", op.trim_matches(['{', '}']));
                self.repeated.get_or_insert_with(|| (literal.to_string(), times));
            }
            kind => {
                let (star, at) = (*kind == RepetitionKind::ZeroOrMore, repeated.op.span.start.offset);
                self.glob.get_or_insert_with(|| Wildcard { before: before.to_owned(), literal, at, star });
            }
        }
    }

    fn look_at_flags(&mut self, flags: &Flags) {
        for flag in &flags.items {
            match flag.kind {
                FlagsItemKind::Flag(Flag::IgnoreWhitespace) => self.odd = Some("a flag by which blanks do not count"),
                FlagsItemKind::Flag(Flag::CRLF) => self.ours_alone = Some("the flag R"),
                _ => {}
            }
        }
    }

    fn look_at_literal(&mut self, literal: &Literal) {
        if literal.kind == LiteralKind::HexBrace(HexLiteralKind::UnicodeLong) {
            self.ours_alone = Some("a character as \\U{…}");
        }
    }

    fn look_at_assertion(&mut self, kind: &AssertionKind) {
        match kind {
            AssertionKind::WordBoundaryStart
            | AssertionKind::WordBoundaryEnd
            | AssertionKind::WordBoundaryStartHalf
            | AssertionKind::WordBoundaryEndHalf => self.ours_alone = Some("the edge of a word as \\b{…}"),
            AssertionKind::WordBoundaryStartAngle | AssertionKind::WordBoundaryEndAngle => {
                self.odd = Some("the edge of a word as an angle");
            }
            _ => {}
        }
    }

    fn look_at_class(&mut self, set: &ClassSet) {
        match set {
            ClassSet::BinaryOp(op) => {
                match op.kind {
                    ClassSetBinaryOpKind::Intersection => self.odd = Some("an intersection of classes"),
                    ClassSetBinaryOpKind::Difference | ClassSetBinaryOpKind::SymmetricDifference => {
                        self.ours_alone = Some("a difference of classes");
                    }
                }
                self.look_at_class(&op.lhs);
                self.look_at_class(&op.rhs);
            }
            ClassSet::Item(item) => self.look_at_class_item(item),
        }
    }

    fn look_at_class_item(&mut self, item: &ClassSetItem) {
        match item {
            ClassSetItem::Bracketed(inner) => {
                self.odd = Some("a class within a class");
                self.look_at_class(&inner.kind);
            }
            ClassSetItem::Union(union) => union.items.iter().for_each(|item| self.look_at_class_item(item)),
            ClassSetItem::Literal(literal) => self.look_at_literal(literal),
            _ => {}
        }
    }
}
