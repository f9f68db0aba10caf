package api

import (
	"net/http"
	"strings"
	"time"

	"quire/internal/search"
)

// RegisterCommuter adds those of Commuter's routes that are not Jupyter's: its
// ping, and the list of notebooks that describe themselves, which its discover
// page shows.
func RegisterCommuter(rt *Router, index *search.Index) {
	rt.Handle("GET /api/ping", Policy{Access: SignedIn, QueryToken: true, Doc: Doc{Summary: "Whether the server answers, as Commuter says it", Response: pong{}}},
		func(w http.ResponseWriter, _ *http.Request) error {
			return WriteJSON(w, http.StatusOK, pong{"pong"})
		})
	rt.Handle("GET /api/v1/discovery", Policy{Access: SignedIn, QueryToken: true, Doc: Doc{
		Summary: "Notebooks that describe themselves, newest first, as Commuter lists them", Response: discovery{},
	}}, func(w http.ResponseWriter, r *http.Request) error {
		all, err := index.Described(r.Context(), user(r))
		if err != nil {
			return err
		}
		found := discovery{Results: []discovered{}}
		for _, d := range all {
			found.Results = append(found.Results, discoveredOf(d))
		}
		return writeTagged(w, r, found)
	})
}

type pong struct {
	Message string `json:"message"`
}

type discovery struct {
	Results []discovered `json:"results"`
}

// A discovered notebook is one of Commuter's discover page.
type discovered struct {
	Name         string             `json:"name"`
	Path         string             `json:"path"`
	Image        string             `json:"image,omitempty"`
	LastModified time.Time          `json:"last_modified"`
	Metadata     discoveredMetadata `json:"metadata"`
}

type discoveredMetadata struct {
	Title   string            `json:"title,omitempty"`
	Authors []discoveredName  `json:"authors"`
	Nteract discoveredNteract `json:"nteract"`
}

type discoveredName struct {
	Name string `json:"name"`
}

type discoveredNteract struct {
	Description string   `json:"description"`
	Tags        []string `json:"tags"`
}

func discoveredOf(d search.Document) discovered {
	one := discovered{
		Name: d.Path[strings.LastIndexByte(d.Path, '/')+1:], Path: d.Path, Image: d.Image, LastModified: d.Modified,
		Metadata: discoveredMetadata{
			Title: d.Title, Authors: []discoveredName{},
			Nteract: discoveredNteract{Description: d.Description, Tags: listed(d.Tags)},
		},
	}
	for _, name := range listed(d.Authors) {
		one.Metadata.Authors = append(one.Metadata.Authors, discoveredName{name})
	}
	return one
}

// listed takes a list apart that was joined by ", ".
func listed(joined string) []string {
	if joined == "" {
		return []string{}
	}
	return strings.Split(joined, ", ")
}
