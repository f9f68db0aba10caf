package pages

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"strings"

	"quire/internal/contents"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/viewer"
)

// Forms that change files. Each answers with the page of what it changed.

func (s *site) redirect(w http.ResponseWriter, r *http.Request, to string) error {
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (s *site) toFile(w http.ResponseWriter, r *http.Request, p string) error {
	return s.redirect(w, r, s.to("/view/")+escapePath(p))
}

func (s *site) toDir(w http.ResponseWriter, r *http.Request, p string) error {
	dir := path.Dir(p)
	if dir == "." {
		dir = ""
	}
	return s.toFile(w, r, dir)
}

func join(dir, name string) string { return strings.TrimPrefix(dir+"/"+name, "/") }

func readForm(r *http.Request) error {
	return problem.WrapAs(problem.Invalid, r.ParseForm(), "reading the form")
}

// freshNotebook is what a new notebook holds: a kernel and one empty cell.
const freshNotebook = `{"cells":[{"cell_type":"code","id":"first","metadata":{},"execution_count":null,"outputs":[],"source":[]}],` +
	`"metadata":{"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"},"language_info":{"name":"python"}},` +
	`"nbformat":4,"nbformat_minor":5}`

// create makes a notebook or a folder in a directory.
func (s *site) create(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	dir, name := pathOf(r), strings.TrimSpace(r.PostForm.Get("name"))
	if strings.Contains(name, "/") {
		return problem.New(problem.Invalid, "%.80q: a name has no slash in it", name)
	}
	folder := r.PostForm.Get("kind") == "folder"
	switch {
	case name == "" && folder:
		name = "Untitled Folder"
	case name == "":
		name = "Untitled.ipynb"
	case !folder && !strings.HasSuffix(name, ".ipynb"):
		name += ".ipynb"
	}
	name, err := s.cfg.Volume.FreeName(r.Context(), user(r), dir, name, "")
	if err != nil {
		return err
	}
	made := join(dir, name)
	if folder {
		err = s.cfg.Volume.Mkdir(r.Context(), user(r), made)
	} else {
		nb, parseErr := notebook.Parse([]byte(freshNotebook))
		if parseErr != nil {
			return parseErr
		}
		data, bytesErr := nb.Bytes()
		if bytesErr != nil {
			return bytesErr
		}
		_, err = s.cfg.Volume.Save(r.Context(), user(r), made, bytes.NewReader(data), contents.SaveOptions{})
	}
	if err != nil {
		return err
	}
	return s.toFile(w, r, made)
}

// upload saves the files of a form in a directory, each as it comes in.
func (s *site) upload(w http.ResponseWriter, r *http.Request) error {
	parts, err := r.MultipartReader()
	if err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading the form")
	}
	dir, replace, count, last := pathOf(r), false, 0, ""
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return problem.WrapAs(problem.Invalid, err, "reading the form")
		}
		switch {
		case part.FormName() == "replace":
			replace = true
		case part.FormName() == "file" && part.FileName() != "":
			if last, err = s.uploadOne(r, dir, part, replace); err != nil {
				return err
			}
			count++
		}
	}
	switch count {
	case 0:
		return problem.New(problem.Invalid, "no file was chosen")
	case 1:
		return s.toFile(w, r, last)
	}
	return s.toFile(w, r, dir)
}

func (s *site) uploadOne(r *http.Request, dir string, part *multipart.Part, replace bool) (string, error) {
	// FileName is without folders already; on Windows some browsers send them.
	name := part.FileName()
	name = name[strings.LastIndexByte(name, '\\')+1:]
	var err error
	if !replace {
		if name, err = s.cfg.Volume.FreeName(r.Context(), user(r), dir, name, "-"); err != nil {
			return "", err
		}
	}
	made := join(dir, name)
	_, err = s.cfg.Volume.Save(r.Context(), user(r), made, part, contents.SaveOptions{Plain: replace})
	return made, err
}

// renameForm asks for a new name.
func (s *site) renameForm(w http.ResponseWriter, r *http.Request) error {
	e, err := s.cfg.Volume.Stat(r.Context(), user(r), pathOf(r))
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "rename", view{Title: "Rename " + e.Name, Section: section(r, e.Path), Crumbs: s.crumbs(e.Path), Data: e})
}

func (s *site) rename(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	from, name := pathOf(r), strings.TrimSpace(r.PostForm.Get("name"))
	if name == "" {
		return problem.New(problem.Invalid, "say what the new name is")
	}
	to := path.Join(path.Dir(from), name)
	if err := s.cfg.Volume.Rename(r.Context(), user(r), from, to); err != nil {
		return err
	}
	return s.toDir(w, r, to)
}

func (s *site) remove(w http.ResponseWriter, r *http.Request) error {
	p := pathOf(r)
	if err := s.cfg.Volume.Delete(r.Context(), user(r), p); err != nil {
		return err
	}
	return s.toDir(w, r, p)
}

func (s *site) duplicate(w http.ResponseWriter, r *http.Request) error {
	p := pathOf(r)
	dir, base := path.Split(p)
	dir = strings.Trim(dir, "/")
	name, err := s.cfg.Volume.FreeName(r.Context(), user(r), dir, base, "-Copy")
	if err != nil {
		return err
	}
	if _, err := s.cfg.Volume.Copy(r.Context(), user(r), p, join(dir, name)); err != nil {
		return err
	}
	return s.toDir(w, r, p)
}

// clone copies a file, or one version of it, to the workspace of who asks.
func (s *site) clone(w http.ResponseWriter, r *http.Request) error {
	p := pathOf(r)
	body, _, err := s.open(r, p, r.URL.Query().Get("version"))
	if err != nil {
		return err
	}
	defer body.Close()
	return s.keep(w, r, path.Base(p), body)
}

// keep saves body in the workspace of who asks, under a name that is free.
func (s *site) keep(w http.ResponseWriter, r *http.Request, name string, body io.Reader) error {
	home := "users/" + user(r).Name
	name, err := s.cfg.Volume.FreeName(r.Context(), user(r), home, name, "-")
	if err != nil {
		return err
	}
	if _, err := s.cfg.Volume.Save(r.Context(), user(r), join(home, name), body, contents.SaveOptions{}); err != nil {
		return err
	}
	return s.toFile(w, r, join(home, name))
}

// trash shows what was deleted in a workspace.
func (s *site) trash(w http.ResponseWriter, r *http.Request) error {
	p := pathOf(r)
	all, err := s.cfg.Volume.Trash(r.Context(), user(r), p)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "trash", view{Title: "Trash", Section: section(r, p), Crumbs: s.crumbs(p), Data: map[string]any{
		"Path": p, "Deleted": all, "Discard": p != "shared" || user(r).Admin,
	}})
}

// restore takes a thing out of the trash, or removes it, or everything, for good.
func (s *site) restore(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	if id := r.PostForm.Get("discard"); id != "" {
		if id == "all" {
			id = ""
		}
		if _, err := s.cfg.Volume.Discard(r.Context(), user(r), pathOf(r), id); err != nil {
			return err
		}
		return s.redirect(w, r, s.to("/trash/")+escapePath(pathOf(r)))
	}
	p, err := s.cfg.Volume.Restore(r.Context(), user(r), pathOf(r), r.PostForm.Get("id"))
	if err != nil {
		return err
	}
	return s.toDir(w, r, p)
}

// versions lists the versions of a file, to look at, compare and restore.
func (s *site) versions(w http.ResponseWriter, r *http.Request) error {
	p := pathOf(r)
	e, err := s.cfg.Volume.Stat(r.Context(), user(r), p)
	if err != nil {
		return err
	}
	all, err := s.cfg.Volume.Versions(r.Context(), user(r), p, 0, 200)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "versions", view{Title: "Versions of " + e.Name, Section: section(r, p), Crumbs: s.crumbs(p), Data: map[string]any{
		"Path": p, "Versions": all, "Notebook": viewer.KindOfFile(e.Name) == viewer.FileNotebook, "Writable": e.Writable,
	}})
}

func (s *site) restoreVersion(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	n, err := number(r.PostForm.Get("number"))
	if err != nil {
		return err
	}
	p := pathOf(r)
	if _, err := s.cfg.Volume.RestoreVersion(r.Context(), user(r), p, n); err != nil {
		return err
	}
	return s.redirect(w, r, s.to("/versions/")+escapePath(p))
}
