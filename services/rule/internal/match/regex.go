package match

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"unicode/utf8"
)

// Regex is a compiled regular expression together with texts of which every match contains at
// least one.
type Regex struct {
	re *regexp.Regexp
	// required is empty when nothing is known; such an expression is tried on every text.
	required []string
}

const (
	maxRegexBytes    = 1024
	maxInstructions  = 2000 // bounds the time of one try: RE2 takes text × instructions at worst
	maxRequired      = 16   // alternatives worth keeping
	maxExpandedClass = 10   // runes of a class that count as alternatives: [0-9] does
)

// ParseRegex compiles an expression of RE2 for texts folded by fold. Literal text of the
// expression is folded too; character classes are not, apart from case.
func ParseRegex(expression string, fold Fold) (Regex, error) {
	if len(expression) > maxRegexBytes {
		return Regex{}, fmt.Errorf("is %d bytes long, at most %d are allowed", len(expression), maxRegexBytes)
	}
	flags := syntax.Perl
	if fold&FoldCase != 0 {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(expression, flags)
	if err != nil {
		return Regex{}, err
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return Regex{}, err
	}
	if len(program.Inst) > maxInstructions {
		return Regex{}, fmt.Errorf("is too complex: %d instructions, at most %d are allowed", len(program.Inst), maxInstructions)
	}
	foldLiterals(tree, fold)
	re, err := regexp.Compile(tree.String())
	if err != nil {
		return Regex{}, err
	}
	if re.MatchString("") {
		return Regex{}, fmt.Errorf("matches the empty text, so it would match everything: use any")
	}
	required := requiredTexts(tree, fold)
	return Regex{re: re, required: required}, nil
}

// foldLiterals folds the literal runes of the tree. Case is left to the flag of the literal.
func foldLiterals(re *syntax.Regexp, fold Fold) {
	if re.Op == syntax.OpLiteral {
		for i, r := range re.Rune {
			re.Rune[i] = (fold &^ FoldCase).Rune(r)
		}
	}
	for _, sub := range re.Sub {
		foldLiterals(sub, fold)
	}
}

// requiredTexts returns folded texts of which every match of re contains one, or nil.
func requiredTexts(re *syntax.Regexp, fold Fold) []string {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 && fold&FoldCase == 0 {
			return nil // the text keeps its case, so the literal has many spellings
		}
		return usableTexts([]string{fold.String(string(re.Rune))})
	case syntax.OpCharClass:
		return classTexts(re.Rune, fold)
	case syntax.OpCapture, syntax.OpPlus:
		return requiredTexts(re.Sub[0], fold)
	case syntax.OpRepeat:
		if re.Min > 0 {
			return requiredTexts(re.Sub[0], fold)
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if texts := requiredTexts(sub, fold); rarer(texts, best) {
				best = texts
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			texts := requiredTexts(sub, fold)
			if texts == nil || len(all)+len(texts) > maxRequired {
				return nil
			}
			all = append(all, texts...)
		}
		return all
	default: // anchors, wildcards and what may be absent
	}
	return nil
}

// classTexts returns the runes of a small character class, given as pairs of bounds.
func classTexts(bounds []rune, fold Fold) []string {
	seen := make(map[rune]bool, maxExpandedClass)
	var texts []string
	for i := 0; i+1 < len(bounds); i += 2 {
		if bounds[i+1]-bounds[i] >= 4*maxExpandedClass {
			return nil
		}
		for r := bounds[i]; r <= bounds[i+1]; r++ {
			folded := fold.Rune(r)
			if seen[folded] {
				continue
			}
			if len(texts) == maxExpandedClass {
				return nil
			}
			seen[folded] = true
			texts = append(texts, string(folded))
		}
	}
	return usableTexts(texts)
}

func usableTexts(texts []string) []string {
	for _, text := range texts {
		if !Usable(text) {
			return nil
		}
	}
	return texts
}

// rarer tells whether texts narrows better than best: longer texts first, then fewer of them.
func rarer(texts, best []string) bool {
	if texts == nil || best == nil {
		return texts != nil
	}
	if x, y := shortest(texts), shortest(best); x != y {
		return x > y
	}
	return len(texts) < len(best)
}

func shortest(texts []string) int {
	least := MaxPatternRunes
	for _, text := range texts {
		least = min(least, utf8.RuneCountInString(text))
	}
	return least
}
