//! What an expression of `filter_key` is made of, from its syntax tree: what stands out in it, what was meant, and what other engines
//! read otherwise. It words nothing but the names of constructs.

use crate::model::key_filter::reach::{
    has_endless, is_anchored, is_any, is_nearly_any, matches_empty, names_its_characters,
};
use crate::model::text::quoted;
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassSet, ClassSetBinaryOpKind, ClassSetItem, ClassUnicodeKind, ClassUnicodeOpKind, ErrorKind,
    Flag, Flags, FlagsItemKind, GroupKind, HexLiteralKind, Literal, LiteralKind, Repetition, RepetitionKind,
};
use std::collections::BTreeMap;

/// How an item can be read.
pub enum Reading {
    /// As a regular expression.
    Read(Syntax),
    /// As one with something that some engines have and ours has not.
    Elsewhere(Foreign),
    /// As one whose braces are no repetition; with them as plain characters it is this one.
    Braces(Syntax),
    /// Not at all, and why.
    Wrong(String),
}

/// What some engines have and ours has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A look around, by which people say "all but".
    LookAround,
    /// A reference to a group.
    Reference,
    /// An escape.
    Escape,
    /// A kind of group.
    Group,
}

impl Foreign {
    /// Its name, as part of a sentence.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LookAround => "a look around",
            Self::Reference => "a reference to a group",
            Self::Escape => "an escape of some engines",
            Self::Group => "a kind of group of some engines",
        }
    }
}

/// What stands out in a regular expression.
#[derive(Default)]
pub struct Syntax {
    /// Whether it matches every key, or a part of every key of some length.
    pub any: bool,
    /// Whether what it takes is nearly every character.
    pub nearly_any: bool,
    /// Whether it matches every whole key of some length.
    pub by_length: bool,
    /// Whether it matches whole keys only.
    pub anchored: bool,
    /// Whether something in it is repeated without end.
    pub endless: bool,
    /// Whether it matches the empty text.
    pub empty: bool,
    /// Whether it names no character that a key has, and matches a part of keys of any name.
    pub wordless: bool,
    /// The first star or question mark behind a plain character.
    pub glob: Option<Wildcard>,
    /// The first plain character that braces repeat, and how often.
    pub repeated: Option<(char, String)>,
    /// Whether a dot stands between characters of a name.
    pub dot_in_name: bool,
    /// Whether it says whether characters or bytes are matched.
    pub by_character: bool,
    /// Something that other engines read otherwise.
    pub odd: Option<&'static str>,
    /// Something that hardly any other engine has.
    pub ours_alone: Option<&'static str>,
    /// The expression with globs, braces and dots as they were meant, most likely; the same one where nothing stands out.
    pub meant: String,
    /// Whether a plain character is in it.
    literal: bool,
    /// Where what was meant differs: place, length, and what to write there.
    edits: BTreeMap<usize, (usize, String)>,
    /// Places of all dots that nothing repeats.
    dots: Vec<usize>,
}

/// A star or a question mark behind a plain character.
pub struct Wildcard {
    before: String,
    literal: char,
    star: bool,
}

impl Wildcard {
    /// What it says as a regular expression: `"session" and any number of colons`.
    pub fn explain(&self) -> String {
        let before = if self.before.is_empty() { String::new() } else { format!("{} and ", quoted(&self.before)) };
        let literal = if self.literal == ':' { "colon".to_owned() } else { quoted(&self.literal.to_string()) };
        match (self.star, self.literal) {
            (true, ':') => format!("{before}any number of colons, none included"),
            (true, _) => format!("{before}any number of {literal}, none included"),
            (false, _) => format!("{before}one {literal} or none"),
        }
    }
}

/// The item with braces that are plain characters.
fn with_plain_braces(item: &str) -> String {
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

/// A glob's wildcards as a regular expression has them, and braces as plain characters.
fn as_meant(operator: &str) -> String {
    let meant = |c| match c {
        '*' => ".*".to_owned(),
        '?' => ".".to_owned(),
        '{' | '}' => format!("\\{c}"),
        c => c.to_string(),
    };
    operator.chars().map(meant).collect()
}

/// The regular expression for what a glob names, if that is one.
pub fn glob_as_regex(glob: &str) -> Option<String> {
    let meant: String = glob.split('.').map(as_meant).collect::<Vec<_>>().join("\\.");
    Parser::new().parse(&meant).is_ok().then_some(meant)
}

/// Reads an item.
pub fn read(item: &str) -> Reading {
    let failed = match Parser::new().parse(item) {
        Ok(ast) => return Reading::Read(Syntax::of(item, &ast)),
        Err(failed) => failed,
    };
    match failed.kind() {
        ErrorKind::UnsupportedLookAround => Reading::Elsewhere(Foreign::LookAround),
        ErrorKind::UnsupportedBackreference => Reading::Elsewhere(Foreign::Reference),
        ErrorKind::EscapeUnrecognized => Reading::Elsewhere(Foreign::Escape),
        ErrorKind::FlagUnrecognized | ErrorKind::RepetitionMissing if item.contains("(?") || item.contains("(*") => {
            Reading::Elsewhere(Foreign::Group)
        }
        why @ (ErrorKind::RepetitionMissing
        | ErrorKind::RepetitionCountDecimalEmpty
        | ErrorKind::RepetitionCountUnclosed
        | ErrorKind::RepetitionCountInvalid
        | ErrorKind::DecimalInvalid) => {
            let plain = with_plain_braces(item);
            match Parser::new().parse(&plain) {
                Ok(ast) if plain != item => Reading::Braces(Syntax::of(&plain, &ast)),
                _ => Reading::Wrong(why.to_string()),
            }
        }
        why => Reading::Wrong(why.to_string()),
    }
}

/// A character that stands for itself, without a backslash, whatever repeats it.
fn plain_character(ast: &Ast) -> Option<char> {
    match ast {
        Ast::Literal(literal) if literal.kind == LiteralKind::Verbatim => Some(literal.c),
        Ast::Repetition(repeated) => plain_character(&repeated.ast),
        _ => None,
    }
}

impl Syntax {
    fn of(item: &str, ast: &Ast) -> Self {
        let anchored = is_anchored(ast);
        let endless = has_endless(ast);
        let by_length = is_any(ast) && anchored && !endless;
        let any = is_any(ast) && !by_length;
        let (nearly_any, empty) = (is_nearly_any(ast), matches_empty(ast));
        let mut syntax = Self { any, nearly_any, by_length, anchored, endless, empty, ..Self::default() };
        syntax.look(item, ast);
        syntax.wordless = !(syntax.literal || syntax.any || syntax.empty || anchored);
        // Where nothing is in it that a glob has not too, its dots are a glob's.
        let is_glob = syntax.glob.is_some()
            && !item.contains(['+', '(', ')', '{', '}', '|', '^', '$', '\\'])
            && !item.contains(".*")
            && !item.contains("]*");
        if is_glob {
            syntax.edits.extend(syntax.dots.iter().map(|at| (*at, (1, "\\.".to_owned()))));
        }
        let mut from = 0;
        for (at, (length, meant)) in &syntax.edits {
            syntax.meant.push_str(item.get(from..*at).unwrap_or_default());
            syntax.meant.push_str(meant);
            from = at + length;
        }
        syntax.meant.push_str(item.get(from..).unwrap_or_default());
        syntax
    }

    /// Takes note of what is anywhere in a tree. Its depth is bounded by the parser.
    fn look(&mut self, item: &str, ast: &Ast) {
        match ast {
            Ast::Empty(_) | Ast::ClassPerl(_) => {}
            Ast::Dot(dot) => self.dots.push(dot.start.offset),
            Ast::ClassUnicode(class) => {
                if let ClassUnicodeKind::NamedValue { op: ClassUnicodeOpKind::NotEqual, .. } = class.kind {
                    self.ours_alone = Some("a class of characters as \\p{…!=…}");
                }
            }
            Ast::Flags(flags) => self.look_at_flags(&flags.flags),
            Ast::Literal(literal) => {
                self.literal = true;
                self.look_at_literal(literal);
            }
            Ast::Assertion(assertion) => self.look_at_assertion(&assertion.kind),
            Ast::ClassBracketed(class) => {
                self.literal |= !class.negated && names_its_characters(&class.kind);
                self.look_at_class(&class.kind);
            }
            Ast::Repetition(repeated) => {
                self.look_at_repetition(item, repeated);
                if !matches!(*repeated.ast, Ast::Dot(_)) {
                    self.look(item, &repeated.ast);
                }
            }
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.look_at_flags(flags);
                }
                self.look(item, &group.ast);
            }
            Ast::Alternation(either) => either.asts.iter().for_each(|ast| self.look(item, ast)),
            Ast::Concat(all) => {
                let names =
                    |ast: &Ast| plain_character(ast).is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
                let may =
                    |ast: &Ast| names(ast) || matches!(ast, Ast::ClassBracketed(_) | Ast::ClassPerl(_) | Ast::Group(_));
                for three in all.asts.windows(3) {
                    if let [a, Ast::Dot(dot), b] = three
                        && (names(a) && may(b) || may(a) && names(b))
                    {
                        self.dot_in_name = true;
                        self.edits.insert(dot.start.offset, (1, "\\.".to_owned()));
                    }
                }
                all.asts.iter().for_each(|ast| self.look(item, ast));
            }
        }
    }

    fn look_at_repetition(&mut self, item: &str, repeated: &Repetition) {
        if matches!(*repeated.ast, Ast::Repetition(_)) {
            self.odd = Some("a repetition of a repetition");
        }
        let Some(literal) = plain_character(&repeated.ast) else { return };
        let (from, to) = (repeated.op.span.start.offset, repeated.op.span.end.offset);
        let operator = item.get(from..to).unwrap_or_default();
        match &repeated.op.kind {
            RepetitionKind::OneOrMore => return,
            RepetitionKind::Range(_) => {
                let times = operator.trim_end_matches('?').trim_matches(['{', '}']);
                self.repeated.get_or_insert_with(|| (literal, format!("{times} times")));
            }
            kind => {
                let before = item.get(..repeated.span.start.offset).unwrap_or_default().to_owned();
                let star = *kind == RepetitionKind::ZeroOrMore;
                self.glob.get_or_insert(Wildcard { before, literal, star });
            }
        }
        self.edits.insert(from, (to - from, as_meant(operator)));
    }

    fn look_at_flags(&mut self, flags: &Flags) {
        for flag in &flags.items {
            match flag.kind {
                FlagsItemKind::Flag(Flag::IgnoreWhitespace) => self.odd = Some("a flag by which blanks do not count"),
                FlagsItemKind::Flag(Flag::SwapGreed) => self.odd = Some("the flag U"),
                FlagsItemKind::Flag(Flag::Unicode) => (self.odd, self.by_character) = (Some("the flag u"), true),
                FlagsItemKind::Flag(Flag::CRLF) => self.ours_alone = Some("the flag R"),
                _ => {}
            }
        }
    }

    fn look_at_literal(&mut self, literal: &Literal) {
        match literal.kind {
            LiteralKind::HexBrace(HexLiteralKind::UnicodeLong) => self.ours_alone = Some("a character as \\U{…}"),
            LiteralKind::HexFixed(HexLiteralKind::UnicodeLong) => self.odd = Some("a character as \\U…"),
            LiteralKind::HexBrace(HexLiteralKind::UnicodeShort) => self.odd = Some("a character as \\u{…}"),
            LiteralKind::HexFixed(HexLiteralKind::UnicodeShort) => self.odd = Some("a character as \\u…"),
            _ => {}
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
