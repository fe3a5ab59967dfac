package condition

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
)

// Bounds of an expression. It has no loops, so its cost is bounded by its own length and that of the text.
const (
	MaxExprBytes   = 1024
	maxExprNodes   = 200
	maxExprMemory  = 100_000 // units of the virtual machine
	maxExprText    = 4 << 10 // bytes of the text that an expression sees
	maxExprTime    = 250 * time.Millisecond
	maxExprPattern = 256 // bytes of a pattern of "matches"
)

// Message is what an expression sees of a message or event.
type Message struct {
	Account     string  `expr:"account"`      // name of the account
	Kind        string  `expr:"kind"`         // text, image, subscribe, click, …
	Text        string  `expr:"text"`         // as the fan wrote it
	Key         string  `expr:"key"`          // event key
	Scene       string  `expr:"scene"`        // of a QR code
	HasPosition bool    `expr:"has_position"` // whether the next two are known
	Latitude    float64 `expr:"latitude"`
	Longitude   float64 `expr:"longitude"`
}

// Environment is what an expression sees.
type Environment struct {
	Message

	Hour    int    `expr:"hour"`    // 0 to 23
	Minute  int    `expr:"minute"`  // 0 to 59
	Weekday int    `expr:"weekday"` // 1 (Monday) to 7
	Date    string `expr:"date"`    // 2026-11-28

	Tags           []string `expr:"tags"`
	Language       string   `expr:"language"`
	SubscribedDays int      `expr:"subscribed_days"` // -1 when it is not known
}

// fanVariables are those that need a look at the fan.
var fanVariables = []string{"tags", "language", "subscribed_days"}

// functions are those that take time in proportion to their arguments and make nothing larger than those.
var functions = []string{"len", "abs", "ceil", "floor", "round", "int", "float", "string", "trim", "trimPrefix", "trimSuffix",
	"upper", "lower", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix", "max", "min"}

// Expression is a compiled expression. It is immutable and safe for concurrent use.
type Expression struct {
	program  *vm.Program
	needsFan bool
}

// ParseExpression compiles an expression that says yes or no. It refuses what could take long: loops, ranges,
// and patterns that are not written out.
func ParseExpression(text string) (*Expression, error) {
	if len(text) > MaxExprBytes {
		return nil, fmt.Errorf("is %d bytes long, at most %d are allowed", len(text), MaxExprBytes)
	}
	look := &inspector{}
	options := []expr.Option{expr.Env(Environment{}), expr.AsBool(), expr.WarnOnAny(), expr.MaxNodes(maxExprNodes), expr.DisableAllBuiltins(), expr.Patch(look)}
	for _, name := range functions {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := compile(text, options)
	if err == nil {
		err = look.problem
	}
	if err != nil {
		return nil, oneLine(err)
	}
	return &Expression{program: program, needsFan: look.needsFan}, nil
}

// compile turns a defect of the compiler into an error: rule files come from outside.
func compile(text string, options []expr.Option) (program *vm.Program, err error) {
	defer func() {
		if defect := recover(); defect != nil {
			err = errors.New("cannot be compiled")
		}
	}()
	return expr.Compile(text, options...)
}

// oneLine drops the picture that the compiler draws below its message.
func oneLine(err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(text)
}

// inspector looks at every node of an expression.
type inspector struct {
	needsFan bool
	problem  error
}

// Visit notes what the expression needs and refuses what it must not do.
func (i *inspector) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		i.needsFan = i.needsFan || slices.Contains(fanVariables, n.Value) || n.Value == "$env"
	case *ast.BinaryNode:
		i.binary(n)
	case *ast.PredicateNode, *ast.SequenceNode, *ast.VariableDeclaratorNode, *ast.MapNode, *ast.SliceNode:
		i.refuse("loops, variables, maps and slices are not supported")
	}
}

func (i *inspector) binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "..":
		i.refuse("ranges are not supported")
	case "**", "^":
		i.refuse("powers are not supported")
	case "matches":
		pattern, ok := n.Right.(*ast.StringNode)
		if !ok {
			i.refuse("the pattern of matches must be written out")
			return
		}
		if len(pattern.Value) > maxExprPattern {
			i.refuse(fmt.Sprintf("the pattern of matches is longer than %d bytes", maxExprPattern))
		} else if _, err := regexp.Compile(pattern.Value); err != nil {
			i.refuse(err.Error())
		}
	}
}

func (i *inspector) refuse(why string) {
	if i.problem == nil {
		i.problem = errors.New(why)
	}
}

// NeedsFan tells whether the expression looks at the fan.
func (e *Expression) NeedsFan() bool { return e.needsFan }

var errSlow = fmt.Errorf("took longer than %s", maxExprTime)

// Holds evaluates the expression. An error counts as no. A result that came too late is an error, so that a
// machine in trouble does not decide by it.
func (e *Expression) Holds(env Environment) (bool, error) {
	env.Text = head(env.Text, maxExprText)
	machine := vm.VM{MemoryBudget: maxExprMemory}
	start := time.Now()
	result, err := machine.Run(e.program, env)
	switch yes, ok := result.(bool); {
	case err != nil:
		return false, oneLine(err)
	case !ok:
		return false, errors.New("is neither true nor false")
	case time.Since(start) > maxExprTime:
		return false, errSlow
	default:
		return yes, nil
	}
}

// head returns the beginning of a text, cut between characters.
func head(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
