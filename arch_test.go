// Package quire holds no code: only the tests of the tree, which keep the packages apart.
package quire

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// mayImport says which domain packages a package may import, besides problem,
// fault and socket.
// The list goes from the leaves up: a package names only packages above it here.
// It is the table of docs/architecture.md; change both, and say why in an ADR.
var mayImport = map[string][]string{
	"internal/problem":    {},
	"internal/fault":      {},
	"internal/socket":     {},
	"internal/notebook":   {},
	"internal/parameter":  {},
	"internal/storage":    {},
	"internal/compute":    {},
	"internal/auth":       {},
	"internal/notify":     {},
	"internal/secret":     {"internal/auth"},
	"internal/gitrepo":    {},
	"python":              {},
	"web":                 {},
	"internal/query":      {"internal/auth", "internal/compute", "internal/secret"},
	"internal/job":        {"internal/compute", "internal/auth"},
	"internal/kernel":     {"internal/compute"},
	"internal/chart":      {},
	"internal/sqlkernel":  {"internal/kernel", "internal/parameter", "internal/query"},
	"internal/viewer":     {"internal/notebook", "internal/chart"},
	"internal/contents":   {"internal/notebook", "internal/storage", "internal/auth"},
	"internal/nbtemplate": {"internal/notebook", "internal/parameter", "internal/contents", "internal/compute", "internal/auth"},
	"internal/engine":     {"internal/notebook", "internal/kernel", "internal/parameter", "internal/storage", "python"},
	"internal/session":    {"internal/notebook", "internal/kernel", "internal/contents", "internal/auth"},
	"internal/run": {
		"internal/notebook", "internal/parameter", "internal/storage", "internal/kernel",
		"internal/engine", "internal/nbtemplate", "internal/contents", "internal/compute", "internal/auth",
		"internal/job", "internal/notify", "internal/gitrepo",
	},
	"internal/schedule": {"internal/run", "internal/notify", "internal/auth", "internal/gitrepo"},
	"internal/search":   {"internal/notebook", "internal/contents", "internal/auth"},
	"internal/db":       {"internal/auth", "internal/notify", "internal/secret", "internal/query", "internal/job", "internal/contents", "internal/search", "internal/nbtemplate", "internal/run", "internal/schedule"},
	"internal/api":      domains,
	"internal/jupyter":  {"internal/notebook", "internal/kernel", "internal/viewer", "internal/contents", "internal/auth", "internal/session", "internal/api"},
	"internal/pages":    slices.Concat(domains, []string{"internal/api", "web"}),
	"internal/server":   slices.Concat(domains, []string{"internal/db", "internal/api", "internal/pages", "internal/jupyter", "web", "python"}),
	"internal/cli":      slices.Concat(domains, []string{"internal/server", "internal/api"}),
	"cmd/quire":         {"internal/cli"},
	"cmd/quire-shim":    {"internal/compute"},
	"cmd/quire-duckdb":  {"internal/query"},
	"bench":             domains,
	".":                 {},
}

// domains are the packages that api, server and cli may all use.
var domains = []string{
	"internal/notebook", "internal/parameter", "internal/storage", "internal/compute", "internal/auth",
	"internal/notify", "internal/secret", "internal/query", "internal/kernel", "internal/viewer", "internal/contents", "internal/nbtemplate",
	"internal/engine", "internal/chart", "internal/job", "internal/session", "internal/sqlkernel", "internal/run", "internal/schedule", "internal/search",
}

// testsMayImport are packages that the tests of a package may use besides: the
// routes are tested on real records.
var testsMayImport = map[string][]string{
	"internal/api":        {"internal/db"},
	"internal/contents":   {"internal/db"},
	"internal/job":        {"internal/db"},
	"internal/nbtemplate": {"internal/db", "internal/storage"},
	"internal/notify":     {"internal/db"},
	"internal/run":        {"internal/db", "internal/query"},
	"internal/schedule":   {"internal/db", "internal/query"},
	"internal/search":     {"internal/db", "internal/storage"},
	"internal/session":    {"internal/db", "internal/storage"},
	"internal/pages":      {"internal/db"},
	"internal/cli":        {"internal/db"},
	"cmd/quire":           {"internal/compute"},
}

// everywhere are the leaves that every package may import.
var everywhere = []string{"internal/problem", "internal/fault", "internal/socket"}

// codecs are parts of a domain that whoever may import the domain may import.
var codecs = []string{"internal/kernel/wire", "internal/kernel/serve", "internal/kernel/keeper", "internal/query/frame", "internal/query/worker", "internal/session/ydoc", "internal/compute/shim", "internal/compute/program"}

// vague are names that say nothing about what is inside.
var vague = []string{
	"util", "utils", "helper", "helpers", "common", "misc", "shared", "base", "lib",
	"models", "handlers", "services", "manager", "types", "testutil",
}

func TestImports(t *testing.T) {
	t.Parallel()
	found, files, err := violations(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
	if files < 10 {
		t.Errorf("only %d Go files were read: the test looks in the wrong place", files)
	}
}

// TestPlantedViolations shows that each rule can fail.
func TestPlantedViolations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, body, want string }{
		{"upward", "internal/notebook/a.go", `import _ "strings"; import "quire/internal/engine"`, "may not import internal/engine"},
		{"sideways", "internal/engine/a.go", `import "quire/internal/run"`, "may not import internal/run"},
		{"domain knows db", "internal/run/a.go", `import "quire/internal/db"`, "may not import internal/db"},
		{"driver outside server", "internal/engine/a.go", `import "quire/internal/storage/local"`, "is a driver or a test aid"},
		{"driver to driver", "internal/storage/s3/a.go", `import "quire/internal/storage/local"`, "is a driver or a test aid"},
		{"test aid in the program", "internal/server/a.go", `import "quire/internal/storage/storagetest"`, "is a test aid"},
		{"leaf imports", "internal/problem/a.go", `import "quire/internal/notebook"`, "may not import internal/notebook"},
		{"main wires", "cmd/quire/a.go", `import "quire/internal/server"`, "may not import internal/server"},
		{"cli and drivers", "internal/cli/a.go", `import "quire/internal/db"`, "may not import internal/db"},
		{"registration", "internal/server/a.go", `import _ "quire/internal/storage/s3"`, "blank import"},
		{"init", "internal/engine/a.go", `func init() {}`, "func init"},
		{"unknown package", "internal/thing/a.go", ``, "is not in the table"},
		{"unknown top", "pkg/a.go", ``, "is not in the table"},
		{"too deep", "internal/storage/s3/sign/a.go", ``, "nothing goes deeper"},
		{"vague package", "internal/storage/utils/a.go", ``, "says nothing"},
		{"vague file", "internal/engine/helpers.go", ``, "says nothing"},
		{"test of a leaf reaches up", "internal/notebook/a_test.go", `import "quire/internal/engine"`, "may not import internal/engine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			found, _, err := violations(fstest.MapFS{tt.file: {Data: []byte("package x\n" + tt.body)}})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(found, "\n"), tt.want) {
				t.Errorf("found %q, want one with %q", found, tt.want)
			}
		})
	}
}

// TestAllowedImports shows that what the table allows is let through.
func TestAllowedImports(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ file, imports string }{
		{"internal/engine/a.go", "quire/internal/kernel/wire"},
		{"internal/server/a.go", "quire/internal/storage/s3"},
		{"internal/storage/s3/a.go", "quire/internal/storage"},
		{"internal/db/sqlite/a.go", "quire/internal/auth"},
		{"internal/storage/s3/a_test.go", "quire/internal/storage/storagetest"},
		{"internal/engine/a_test.go", "quire/internal/kernel/kerneltest"},
		{"internal/api/a_test.go", "quire/internal/db/sqlite"},
		{"internal/cli/a.go", "quire/internal/problem"},
	} {
		found, _, err := violations(fstest.MapFS{tt.file: {Data: []byte("package x\nimport \"" + tt.imports + "\"")}})
		if err != nil || len(found) > 0 {
			t.Errorf("%s importing %s: %v, %v", tt.file, tt.imports, found, err)
		}
	}
}

// violations reads every Go file of the module and returns what breaks the
// table, and how many files it read. It parses the files itself: an answer of
// "go list" would be cached with the test's result.
func violations(fsys fs.FS) (found []string, files int, err error) {
	err = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if skipped(name) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		files++
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		faults, err := fileFaults(name, text)
		for _, fault := range faults {
			found = append(found, name+": "+fault)
		}
		return err
	})
	return found, files, err
}

// skipped tells the directories that hold no package of this module.
func skipped(dir string) bool {
	base := path.Base(dir)
	return base == "testdata" || base == "node_modules" || dir == "tools" || dir == "build" ||
		(strings.HasPrefix(base, ".") && base != ".")
}

func fileFaults(name string, text []byte) ([]string, error) {
	faults := nameFaults(name)
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	isTest := strings.HasSuffix(name, "_test.go")
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		target, ours := strings.CutPrefix(imported, "quire/")
		if !ours {
			continue
		}
		if spec.Name != nil && spec.Name.Name == "_" {
			faults = append(faults, "a blank import of "+target+": the server wires by hand")
		}
		if fault := importFault(path.Dir(name), target, isTest); fault != "" {
			faults = append(faults, fault)
		}
	}
	if !isTest && strings.Contains(string(text), "\nfunc init(") {
		faults = append(faults, "func init: start-up is what the server and main do, in order")
	}
	return faults, nil
}

// nameFaults checks where the file lies and what it and its package are called.
func nameFaults(name string) []string {
	var faults []string
	dir := path.Dir(name)
	if strings.Count(dir, "/") > 2 {
		faults = append(faults, "nothing goes deeper than internal/domain/driver")
	}
	if _, known := mayImport[domain(dir)]; !known {
		faults = append(faults, fmt.Sprintf("package %s is not in the table of arch_test.go", dir))
	}
	for _, word := range []string{path.Base(dir), strings.TrimSuffix(path.Base(name), ".go")} {
		if slices.Contains(vague, word) {
			faults = append(faults, fmt.Sprintf("%q says nothing about what is inside", word))
		}
	}
	return faults
}

// importFault says why a file of package from may not import package target, or "".
func importFault(from, target string, isTest bool) string {
	allowed := mayImport[domain(from)] // a driver may what its domain may
	if isTest {
		allowed = slices.Concat(allowed, testsMayImport[domain(from)])
	}
	targetDomain := domain(target)
	if slices.Contains(everywhere, target) || (isTest && targetDomain == domain(from)) {
		return ""
	}
	if targetDomain != domain(from) && !slices.Contains(allowed, targetDomain) {
		return fmt.Sprintf("package %s may not import %s", from, target)
	}
	switch {
	case target == targetDomain || slices.Contains(codecs, target) || isTest:
		return ""
	case strings.HasSuffix(from, "test"):
		return "" // a test aid may open drivers, as the tests do that it is for
	case strings.HasSuffix(target, "test"):
		return target + " is a test aid: only tests import it"
	case from == "internal/server":
		return ""
	default:
		return target + " is a driver or a test aid: only server and tests import it"
	}
}

// domain returns the package of the table that dir belongs to: internal/storage
// for internal/storage/s3.
func domain(dir string) string {
	parts := strings.Split(dir, "/")
	if len(parts) > 2 {
		return strings.Join(parts[:2], "/")
	}
	return dir
}

// TestChangelog: every entry has the head that docs/changelog/unreleased/TEMPLATE
// asks for.
func TestChangelog(t *testing.T) {
	head := regexp.MustCompile(`^Kind: (Feature|Change|Fix|Security)\n\nSubject: [^\n]+\n\n[^\n]`)
	files, err := filepath.Glob("docs/changelog/*/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d entries, %v", len(files), err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err != nil || !head.Match(text) {
			t.Errorf("%s does not begin as docs/changelog/unreleased/TEMPLATE says: %.60q, %v", file, text, err)
		}
	}
}
