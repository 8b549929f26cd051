package pve

import (
	"errors"
	"fmt"
	"strings"
)

// failure is an error answer: its status, its message, and for parameters what
// is wrong with each.
type failure struct {
	status int
	text   string
	params map[string]string
	plain  bool // the body is the text, as where no API call was reached
}

func (f *failure) Error() string { return f.text }

// fail is a 500 with the text, as a Perl die is.
func fail(format string, args ...any) error {
	return &failure{status: 500, text: fmt.Sprintf(format, args...) + "\n"}
}

// denied is a 403 for privileges on a path; several are alternatives.
func denied(path string, privs ...string) error {
	return forbidden(fmt.Sprintf("(%s, %s)", path, strings.Join(privs, "|")))
}

func unauthorized(text string) error { return &failure{status: 401, text: text} }

func forbidden(why string) error {
	text := "Permission check failed"
	if why != "" {
		text += " " + why
	}
	return &failure{status: 403, text: text + "\n"}
}

// invalid is a 400 for one parameter.
func invalid(name, why string) error {
	return invalids(map[string]string{name: why})
}

func invalids(params map[string]string) error {
	return &failure{status: 400, text: "Parameter verification failed.\n", params: params}
}

func notImplemented(method, path string) error {
	return &failure{status: 501, text: fmt.Sprintf("Method '%s %s' not implemented", method, path)}
}

// reason is an error as a task's exit status: one line.
func reason(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", " ")), " ")
}

// errInterrupted ends a task that was asked to stop.
var errInterrupted = errors.New("received interrupt")
