package parameter

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var (
	asciiName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	matlabForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,62}$`)
)

func words(s string) []string { return strings.Fields(s) }

var (
	pythonWords = words(`False None True and as assert async await break class continue def del elif else except
		finally for from global if import in is lambda nonlocal not or pass raise return try while with yield __debug__`)
	rWords = words(`if else repeat while function for next break TRUE FALSE NULL Inf NaN NA NA_integer_ NA_real_
		NA_complex_ NA_character_ in ...`)
	scalaWords = words(`abstract case catch class def do else extends false final finally for forSome if implicit
		import lazy macro match new null object override package private protected return sealed super this throw
		trait try true type val var while with yield _`)
	juliaWords = words(`baremodule begin break catch const continue do else elseif end export false finally for
		function global if import let local macro module quote return struct true try using while _ ccall`)
	matlabWords = words(`break case catch classdef continue else elseif end for function global if otherwise
		parfor persistent return spmd switch try while`)
	powershellWords = words(`true false null`)
	scriptWords     = words(`arguments await break case catch class const continue debugger default delete do else
		enum eval export extends false finally for function if implements import in instanceof interface let new null
		package private protected public return static super switch this throw true try typeof var void while with
		yield undefined NaN Infinity`)
	csharpWords = words(`abstract as base bool break byte case catch char checked class const continue decimal default
		delegate do double else enum event explicit extern false finally fixed float for foreach goto if implicit in int
		interface internal is lock long namespace new null object operator out override params private protected public
		readonly ref return sbyte sealed short sizeof stackalloc static string struct switch this throw true try typeof
		uint ulong unchecked unsafe ushort using virtual void volatile while _`)
	fsharpWords = words(`abstract and as asr assert base begin break checked class component const constraint default
		delegate do done downcast downto elif else end exception extern false finally fixed for fun function global if
		in include inherit inline interface internal land lazy let lor lsl lsr lxor match member mixin mod module
		mutable namespace new not null of open or override parallel private process protected public pure rec return
		sealed select sig static struct tailcall then to trait true try type upcast use val virtual void when while with
		yield _`)
)

// identifier reports whether s is a letter, a '_' or one of extra, followed by
// those, digits, marks and connectors.
func identifier(s, extra string) bool {
	for i, r := range s {
		start := r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.Nl, r) || strings.ContainsRune(extra, r)
		if !start && (i == 0 || !unicode.In(r, unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc)) {
			return false
		}
		if r == unicode.ReplacementChar {
			return false
		}
	}
	return s != ""
}

func named(s, extra string, reserved []string) (string, bool) {
	return s, identifier(s, extra) && !slices.Contains(reserved, s)
}

func pythonName(s string) (string, bool) { return named(s, "", pythonWords) }

// rName drops leading underscores, which no name in R may have, as Papermill
// does.
func rName(s string) (string, bool) {
	s = strings.TrimLeft(s, "_")
	if !identifier(strings.ReplaceAll(s, ".", "_"), "") || slices.Contains(rWords, s) {
		return s, false
	}
	return s, !(s[0] == '.' && len(s) > 1 && (s[1] >= '0' && s[1] <= '9' || s[1] == '.'))
}

func scalaName(s string) (string, bool) { return named(s, "$", scalaWords) }

func juliaName(s string) (string, bool) {
	rest := strings.ReplaceAll(s, "!", "_")
	return s, !strings.HasPrefix(s, "!") && identifier(rest, "") && !slices.Contains(juliaWords, s)
}

func matlabName(s string) (string, bool) {
	return s, matlabForm.MatchString(s) && !slices.Contains(matlabWords, s)
}

func bashName(s string) (string, bool) {
	return s, asciiName.MatchString(s)
}

func powershellName(s string) (string, bool) {
	return s, asciiName.MatchString(s) && !slices.Contains(powershellWords, strings.ToLower(s))
}

func scriptName(s string) (string, bool) { return named(s, "$", scriptWords) }
func csharpName(s string) (string, bool) { return named(s, "", csharpWords) }
func fsharpName(s string) (string, bool) { return named(s, "", fsharpWords) }
