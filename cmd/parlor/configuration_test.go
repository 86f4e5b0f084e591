package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const configurationPage = "../../docs/configuration.md"

var (
	rowPattern  = regexp.MustCompile("^\\| `([^/`]+)/([^`]+)` \\|[^|]*\\|[^|]*\\| *(live|start|–) *\\| *([a-z]+) *\\|$")
	placeholder = regexp.MustCompile(`<[^>]+>`)
)

// settingRow is what a row of the tables says of a key: when it is read, and which script sets it.
type settingRow struct{ when, script string }

// settingRows reads the tables of docs/configuration.md, by section and key.
func settingRows(t *testing.T) map[[2]string]settingRow {
	t.Helper()
	text, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[[2]string]settingRow{}
	for i, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		m := rowPattern.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("line %d of %s is no row: %s", i+1, configurationPage, line)
			continue
		}
		key := [2]string{m[1], m[2]}
		if _, twice := rows[key]; twice {
			t.Errorf("%s/%s is there twice", key[0], key[1])
		}
		rows[key] = settingRow{m[3], m[4]}
	}
	return rows
}

// TestEverySettingHasItsScript fails when a key of the tables is set by no request and no ini file of the script that they name for it. A key that is live must be
// set by a request.
func TestEverySettingHasItsScript(t *testing.T) {
	t.Parallel()
	rows := settingRows(t)
	if len(rows) < 100 {
		t.Errorf("only %d rows", len(rows))
	}
	for key, row := range rows {
		text, err := os.ReadFile(filepath.Join("testdata", "script", row.script+".txtar"))
		if err != nil {
			t.Error(err)
			continue
		}
		any := func(name string) string {
			if placeholder.MatchString(name) {
				return placeholder.ReplaceAllString(name, `[^\s/]+`)
			}
			return regexp.QuoteMeta(name)
		}
		section, name := any(key[0]), any(key[1])
		overHTTP := regexp.MustCompile(`(?m)^http .*(PUT|DELETE) '?/_node/_local/_config/` + section + `/` + name + `'?$`)
		inFile := regexp.MustCompile(`(?m)^\[` + section + `\]\n([^\[\n-].*\n)*?` + name + ` *=`)
		if !overHTTP.Match(text) && (row.when == "live" || !inFile.Match(text)) {
			t.Errorf("%s.txtar does not set %s/%s as it can be set: %s", row.script, key[0], key[1], row.when)
		}
	}
}

// TestEverySettingIsInTheTables looks for the keys that the source asks for, and fails when one is not documented.
func TestEverySettingIsInTheTables(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for key := range maps.Keys(settingRows(t)) {
		documented[key[1]] = true
	}
	// Which argument of a call names the key.
	position := map[string]int{"String": 1, "Int": 1, "Bool": 1, "Get": 1, "number": 4, "milliseconds": 2}
	asked := 0
	for _, dir := range []string{".", "../../server"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				name := ""
				switch f := call.Fun.(type) {
				case *ast.Ident:
					name = f.Name
				case *ast.SelectorExpr:
					if on, ok := f.X.(*ast.Ident); ok && (on.Name == "s" || on.Name == "snap") {
						name = f.Sel.Name
					}
				}
				i, ok := position[name]
				if !ok || i >= len(call.Args) {
					return true
				}
				if literal, ok := call.Args[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
					key, err := strconv.Unquote(literal.Value)
					if asked++; err != nil || !documented[key] {
						t.Errorf("%s asks for the key %s, which docs/configuration.md does not have", file, literal.Value)
					}
				}
				return true
			})
		}
	}
	if asked < 50 {
		t.Errorf("only %d questions found", asked)
	}
}
