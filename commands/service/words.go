package service

import (
	"errors"
	"strings"
)

// splitWords splits s into words as a POSIX shell does: blanks separate, both
// kinds of quotes group, a backslash escapes outside single quotes and # at
// the start of a word begins a comment. Variables and globs are left alone.
func splitWords(s string) ([]string, error) {
	sp := splitter{rest: []rune(s)}
	for sp.next() {
	}
	return sp.words, sp.err
}

type splitter struct {
	rest  []rune
	words []string
	err   error
}

// next reads one word; it reports false at the end and on an error.
func (sp *splitter) next() bool {
	sp.skipBlanks()
	if len(sp.rest) == 0 {
		return false
	}
	var word strings.Builder
	for len(sp.rest) > 0 && !isBlank(sp.rest[0]) {
		if !sp.unit(&word) {
			return false
		}
	}
	sp.words = append(sp.words, word.String())
	return true
}

func (sp *splitter) skipBlanks() {
	for len(sp.rest) > 0 {
		switch {
		case isBlank(sp.rest[0]):
			sp.rest = sp.rest[1:]
		case sp.rest[0] == '#':
			for len(sp.rest) > 0 && sp.rest[0] != '\n' {
				sp.rest = sp.rest[1:]
			}
		default:
			return
		}
	}
}

// unit reads one character or one quoted part into word.
func (sp *splitter) unit(word *strings.Builder) bool {
	r := sp.rest[0]
	sp.rest = sp.rest[1:]
	switch r {
	case '\'', '"':
		return sp.quoted(r, word)
	case '\\':
		return sp.escaped(word)
	default:
		word.WriteRune(r)
		return true
	}
}

func (sp *splitter) escaped(word *strings.Builder) bool {
	if len(sp.rest) == 0 {
		sp.err = errors.New("EOF found after escape character")
		return false
	}
	word.WriteRune(sp.rest[0])
	sp.rest = sp.rest[1:]
	return true
}

func (sp *splitter) quoted(quote rune, word *strings.Builder) bool {
	for len(sp.rest) > 0 {
		r := sp.rest[0]
		sp.rest = sp.rest[1:]
		switch {
		case r == quote:
			return true
		case r == '\\' && quote == '"':
			if !sp.escaped(word) {
				return false
			}
		default:
			word.WriteRune(r)
		}
	}
	sp.err = errors.New("EOF found when expecting closing quote")
	return false
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }
