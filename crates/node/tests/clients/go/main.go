// Command clients uses an API server as controllers written with client-go do: typed clients that speak protobuf,
// informers, workqueues, elections, dynamic clients. KUBECONFIG names the server, RUN makes names unique.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	jsonType     = "application/json"
	protobufType = "application/vnd.kubernetes.protobuf"
	// checkMax bounds one check; patience bounds a wait for one state inside of it.
	checkMax = 60 * time.Second
	patience = 20 * time.Second
)

// world is what checks share: clients of one server and a namespace of their own.
type world struct {
	run       string
	namespace string
	// config speaks JSON; protobuf is the same with protobuf, as controllers use it.
	config   *rest.Config
	protobuf *rest.Config
	kube     kubernetes.Interface
	dynamic  dynamic.Interface
	metadata metadata.Interface
}

func newWorld(run string) (*world, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 500, 500
	w := &world{run: run, namespace: "go-" + run, config: config, protobuf: rest.CopyConfig(config)}
	w.protobuf.ContentType = protobufType
	w.protobuf.AcceptContentTypes = protobufType + "," + jsonType
	if w.kube, err = kubernetes.NewForConfig(w.protobuf); err != nil {
		return nil, err
	}
	if w.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	w.metadata, err = metadata.NewForConfig(metadata.ConfigFor(config))
	return w, err
}

type check struct {
	name string
	run  func(context.Context, *world) error
}

var checks = []check{
	{"discovery", discoveryAndMapping},
	{"typed", typedLife},
	{"errors", typedErrors},
	{"lists", listsInPages},
	{"conflicts", retriesOnConflict},
	{"patches", patches},
	{"apply", applyConfigurations},
	{"subresources", subresources},
	{"reviews", reviews},
	{"watch", watches},
	{"informers", informersOfBuiltIns},
	{"metadata", metadataInformer},
	{"custom", customResources},
	{"controller", controllerWithWorkqueue},
	{"election", leaderElection},
	{"events", eventRecorders},
	{"partial", partialObjects},
}

func main() {
	run := os.Getenv("RUN")
	if run == "" {
		run = fmt.Sprint(os.Getpid())
	}
	w, err := newWorld(run)
	if err != nil {
		fmt.Println("no client:", err)
		os.Exit(1)
	}
	background := context.Background()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	if _, err := w.kube.CoreV1().Namespaces().Create(background, namespace, metav1.CreateOptions{}); err != nil {
		fmt.Println("no namespace:", err)
		os.Exit(1)
	}
	var passed, failed []string
	for _, check := range checks {
		if len(os.Args) > 1 && !contains(os.Args[1:], check.name) {
			continue
		}
		ctx, cancel := context.WithTimeout(background, checkMax)
		err := check.run(ctx, w)
		cancel()
		if err != nil {
			failed = append(failed, check.name)
			fmt.Printf("FAILED %s: %v\n", check.name, err)
			continue
		}
		passed = append(passed, check.name)
	}
	if err := w.kube.CoreV1().Namespaces().Delete(background, w.namespace, metav1.DeleteOptions{}); err != nil {
		failed = append(failed, "namespace")
		fmt.Println("FAILED to delete the namespace:", err)
	}
	fmt.Println("passed:", strings.Join(passed, " "))
	if len(failed) > 0 {
		os.Exit(1)
	}
}

func contains(list []string, item string) bool {
	for _, other := range list {
		if other == item {
			return true
		}
	}
	return false
}

// eventually asks until the answer is nil.
func eventually(ctx context.Context, what string, ask func() error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = ask()
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w; at last: %v", what, err, last)
	}
	return nil
}

// want fails unless both print alike.
func want(what string, is, should any) error {
	if fmt.Sprint(is) != fmt.Sprint(should) {
		return fmt.Errorf("%s is %v, should be %v", what, is, should)
	}
	return nil
}

// all gives the first error.
func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
}
