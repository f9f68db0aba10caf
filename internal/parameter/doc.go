// Package parameter holds what a notebook can be given: typed values and where
// they come from, the source text that assigns them in the notebook's language,
// the parameters a notebook declares, the checks on given values, and the path
// templates that use them.
//
// Values. A [Value] is one of null, bool, integer of any size, float, string,
// list and ordered dictionary. A [Set] is an ordered map from parameter name to
// value: the first insertion fixes the place, the last one the value.
// [FromFlag], [FromRaw], [FromYAML], [FromJSON] and [FromBase64] read the forms
// that Papermill reads, with Papermill's typing.
//
// Translation. [Translate] writes the source of the injected cell. Where
// Papermill's text is right it is the same byte for byte; where it was wrong
// code, a wrong value or a way to break out of a literal, it is corrected:
//
//   - names that are not identifiers of the language are refused;
//   - strings keep their value in every language (Julia and PowerShell no
//     longer interpolate $, R and Julia no longer read \xe9 as a raw byte, C#
//     no longer reads \xe9a as one character, MATLAB and PowerShell get real
//     line ends instead of \n in letters);
//   - nan and infinities are written as each language names them;
//   - integers beyond 64 bits, null in C# and in shell arrays, lists of mixed
//     type in C# and F#, and dictionaries in the shell are legal code.
//
// Keys of dictionaries are strings in every language, as Papermill has it: the
// notebook that gets {1: "a"} sees {"1": "a"}. The text is never reformatted,
// whether or not a code formatter is installed.
//
// Inspection. [Inspect] reads the parameters cell with a tokenizer of its
// language; [SchemaOf] turns what it found into a [Schema] that checks and
// coerces a Set before a kernel starts.
//
// Everything here is a pure function of its arguments, bounds what it reads and
// is safe for concurrent use; a Set and a Schema are not to be changed by one
// goroutine while another uses them.
package parameter
