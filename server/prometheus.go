package server

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// prometheusHandler shows the figures of _stats, and those of the process, in Prometheus's formats.
func (s *Server) prometheusHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(figureCollector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// figureCollector makes metrics of the server's figures. A figure below another one's name, such as a status code, is a label of it.
type figureCollector struct{ server *Server }

// Describe sends nothing: which figures there are depends on what the server has done.
func (figureCollector) Describe(chan<- *prometheus.Desc) {}

func (c figureCollector) Collect(metrics chan<- prometheus.Metric) {
	labels := map[string]string{"httpd_request_methods": "method", "httpd_status_codes": "code"}
	for _, f := range c.server.figures() {
		var names, values []string
		path := f.path
		if label, ok := labels[path[len(path)-2]]; ok {
			names, values = []string{label}, path[len(path)-1:]
			path = path[:len(path)-1]
			f.desc = "number of HTTP requests by " + label
		}
		kind := prometheus.CounterValue
		if f.gauge {
			kind = prometheus.GaugeValue
		}
		desc := prometheus.NewDesc(strings.Join(path, "_"), f.desc, names, nil)
		metrics <- prometheus.MustNewConstMetric(desc, kind, float64(f.value), values...)
	}
}

func (s *Server) prometheus(r *request) error {
	if err := r.node(); err != nil {
		return err
	}
	r.w.Header().Del("Content-Type")
	s.exposition.ServeHTTP(&r.w, r.Request)
	return nil
}
