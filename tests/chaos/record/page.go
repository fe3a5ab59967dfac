package record

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"time"
)

//go:embed page.html
var pageText string

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"s": func(s Seconds) string { return fmt.Sprintf("%.3f s", time.Duration(s).Seconds()) },
}).Parse(pageText))

// page is the trial for people.
func (r Record) page() ([]byte, error) {
	var b bytes.Buffer
	err := pages.ExecuteTemplate(&b, "trial", struct {
		Record
		AckPlot, CountPlot template.HTML
	}{r, template.HTML(r.ackPlot()), template.HTML(r.countPlot())})
	return b.Bytes(), err
}

// WriteIndex writes the list of the trials of a run; each is in a folder of its own, by Folder.
func WriteIndex(dir string, records []Record) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, "index", records); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.html"), b.Bytes(), 0o644)
}

// Folder is where the trial is, below the folder of the run.
func (r Record) Folder() string { return fmt.Sprintf("row-%02d-trial-%02d", r.Row, r.Trial) }
