package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/workqueue"
)

// seen counts what a handler was told.
type seen struct {
	sync.Mutex
	added, updated, deleted int
}

func (s *seen) handler() cache.ResourceEventHandlerFuncs {
	count := func(number *int) {
		s.Lock()
		*number++
		s.Unlock()
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { count(&s.added) },
		UpdateFunc: func(any, any) { count(&s.updated) },
		DeleteFunc: func(any) { count(&s.deleted) },
	}
}

func (s *seen) are(added, updated, deleted int) error {
	s.Lock()
	defer s.Unlock()
	return want("events", [3]int{s.added, s.updated, s.deleted}, [3]int{added, updated, deleted})
}

func watches(ctx context.Context, w *world) error {
	maps := w.kube.CoreV1().ConfigMaps(w.namespace)
	made, err := maps.Create(ctx, configMap("watched", nil), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	// A watch that goes on after its connection ended, with bookmarks.
	lister := &cache.ListWatch{WatchFunc: func(options metav1.ListOptions) (watch.Interface, error) {
		options.FieldSelector = "metadata.name=watched"
		timeout := int64(1)
		options.TimeoutSeconds = &timeout
		return maps.Watch(ctx, options)
	}}
	retrying, err := watchtools.NewRetryWatcher(made.ResourceVersion, lister)
	if err != nil {
		return err
	}
	defer retrying.Stop()
	time.Sleep(1500 * time.Millisecond)
	if _, err := maps.Patch(ctx, "watched", types.MergePatchType, []byte(`{"data":{"a":"b"}}`), metav1.PatchOptions{}); err != nil {
		return err
	}
	if err := maps.Delete(ctx, "watched", metav1.DeleteOptions{}); err != nil {
		return err
	}
	for _, kind := range []watch.EventType{watch.Modified, watch.Deleted} {
		select {
		case event := <-retrying.ResultChan():
			if event.Type != kind {
				return fmt.Errorf("event %v, should be %v", event, kind)
			}
		case <-time.After(patience):
			return fmt.Errorf("no event %v", kind)
		}
	}
	// Without a version it begins with what is there.
	if _, err := maps.Create(ctx, configMap("there", nil), metav1.CreateOptions{}); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	selected := fields.OneTermEqualSelector("metadata.name", "there").String()
	_, err = watchtools.UntilWithSync(wait, cache.NewListWatchFromClient(w.kube.CoreV1().RESTClient(), "configmaps", w.namespace,
		fields.ParseSelectorOrDie(selected)), &corev1.ConfigMap{}, nil,
		func(event watch.Event) (bool, error) { return event.Type == watch.Added, nil })
	if err != nil {
		return fmt.Errorf("until there: %w", err)
	}
	if _, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: "no number"}); !apierrors.IsBadRequest(err) && !apierrors.IsInvalid(err) {
		return fmt.Errorf("watch of a wrong version: %v", err)
	}
	return nil
}

// streaming says whether client-go asks for streaming lists, which it does when its environment says so.
func streaming() string { return os.Getenv("KUBE_FEATURE_WatchListClient") }

func informersOfBuiltIns(ctx context.Context, w *world) error {
	const label = "informed"
	factory := informers.NewSharedInformerFactoryWithOptions(w.kube, 0, informers.WithNamespace(w.namespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = label }))
	maps := w.kube.CoreV1().ConfigMaps(w.namespace)
	before := configMap("before", nil)
	before.Labels = map[string]string{label: streaming()}
	if _, err := maps.Create(ctx, before, metav1.CreateOptions{}); err != nil {
		return err
	}
	var told seen
	informer := factory.Core().V1().ConfigMaps()
	if _, err := informer.Informer().AddEventHandler(told.handler()); err != nil {
		return err
	}
	deployments := factory.Apps().V1().Deployments().Lister()
	nodes := informers.NewSharedInformerFactory(w.kube, 0)
	nodeLister := nodes.Core().V1().Nodes().Lister()
	leases := nodes.Coordination().V1().Leases().Informer()
	stop := make(chan struct{})
	defer close(stop)
	factory.Start(stop)
	nodes.Start(stop)
	for _, synced := range []map[string]bool{types2names(factory.WaitForCacheSync(ctx.Done())), types2names(nodes.WaitForCacheSync(ctx.Done()))} {
		for name, done := range synced {
			if !done {
				return fmt.Errorf("%s is not synced", name)
			}
		}
	}
	if _, err := informer.Lister().ConfigMaps(w.namespace).Get("before"); err != nil {
		return err
	}
	after := configMap("after", nil)
	after.Labels = before.Labels
	if _, err := maps.Create(ctx, after, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := maps.Patch(ctx, "after", types.MergePatchType, []byte(`{"data":{"a":"b"}}`), metav1.PatchOptions{}); err != nil {
		return err
	}
	// Without its label it is gone for this informer, and comes again with it.
	for _, text := range []string{`{"metadata":{"labels":{"informed":null}}}`, `{"metadata":{"labels":{"informed":"again"}}}`} {
		if _, err := maps.Patch(ctx, "after", types.MergePatchType, []byte(text), metav1.PatchOptions{}); err != nil {
			return err
		}
	}
	if err := maps.Delete(ctx, "before", metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := eventually(ctx, "all events", func() error { return told.are(3, 1, 2) }); err != nil {
		return err
	}
	found, err := deployments.Deployments(w.namespace).List(labels.Everything())
	if err != nil {
		return err
	}
	all3, err := nodeLister.List(labels.Everything())
	if err != nil {
		return err
	}
	held := 0
	for _, item := range leases.GetStore().List() {
		if item.(*coordinationv1.Lease).Namespace == corev1.NamespaceNodeLease {
			held++
		}
	}
	return all(want("deployments with that label", len(found), 0), want("nodes", len(all3), 3), want("leases of nodes", held, 3))
}

func types2names[K comparable](synced map[K]bool) map[string]bool {
	names := map[string]bool{}
	for kind, done := range synced {
		names[fmt.Sprint(kind)] = done
	}
	return names
}

func metadataInformer(ctx context.Context, w *world) error {
	resource := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	informer := metadatainformer.NewFilteredSharedInformerFactory(w.metadata, 0, w.namespace, nil).ForResource(resource)
	var told seen
	if _, err := informer.Informer().AddEventHandler(told.handler()); err != nil {
		return err
	}
	stop := make(chan struct{})
	defer close(stop)
	go informer.Informer().Run(stop)
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return fmt.Errorf("it is not synced")
	}
	object := configMap("only-metadata", map[string]string{"a": "b"})
	object.Labels = map[string]string{"x": "y"}
	if _, err := w.kube.CoreV1().ConfigMaps(w.namespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := eventually(ctx, "its metadata", func() error {
		item, err := informer.Lister().ByNamespace(w.namespace).Get("only-metadata")
		if err != nil {
			return err
		}
		partial := item.(*metav1.PartialObjectMetadata)
		return want("label", partial.Labels["x"], "y")
	}); err != nil {
		return err
	}
	return w.metadata.Resource(resource).Namespace(w.namespace).Delete(ctx, "only-metadata", metav1.DeleteOptions{})
}

func object(text map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: text}
}

func customResources(ctx context.Context, w *world) error {
	group := "go-" + w.run + ".example.com"
	definitions := w.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	text := map[string]any{"type": "object", "properties": map[string]any{
		"spec": map[string]any{"type": "object", "required": []any{"size"}, "properties": map[string]any{
			"size": map[string]any{"type": "integer", "minimum": int64(1)}, "color": map[string]any{"type": "string", "default": "red"}}},
		"status": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}
	definition := object(map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "boxes." + group},
		"spec": map[string]any{"group": group, "scope": "Namespaced",
			"names": map[string]any{"plural": "boxes", "singular": "box", "kind": "Box"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true,
				"subresources": map[string]any{"status": map[string]any{}}, "schema": map[string]any{"openAPIV3Schema": text}}}}})
	if _, err := definitions.Create(ctx, definition, metav1.CreateOptions{}); err != nil {
		return err
	}
	defer definitions.Delete(context.WithoutCancel(ctx), "boxes."+group, metav1.DeleteOptions{})
	if err := eventually(ctx, "the definition is established", func() error {
		live, err := definitions.Get(ctx, "boxes."+group, metav1.GetOptions{})
		if err != nil {
			return err
		}
		list, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
		for _, item := range list {
			if condition := item.(map[string]any); condition["type"] == "Established" && condition["status"] == "True" {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", list)
	}); err != nil {
		return err
	}
	resource := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "boxes"}
	informer := dynamicinformer.NewFilteredDynamicSharedInformerFactory(w.dynamic, 0, w.namespace, nil).ForResource(resource)
	var told seen
	if _, err := informer.Informer().AddEventHandler(told.handler()); err != nil {
		return err
	}
	stop := make(chan struct{})
	defer close(stop)
	go informer.Informer().Run(stop)
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return fmt.Errorf("the informer is not synced")
	}
	boxes := w.dynamic.Resource(resource).Namespace(w.namespace)
	box := func(size int64) *unstructured.Unstructured {
		return object(map[string]any{"apiVersion": group + "/v1", "kind": "Box", "metadata": map[string]any{"name": "one"},
			"spec": map[string]any{"size": size}})
	}
	if _, err := boxes.Create(ctx, box(0), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		return fmt.Errorf("a box that is too small: %v", err)
	}
	live, err := boxes.Create(ctx, box(1), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	color, _, _ := unstructured.NestedString(live.Object, "spec", "color")
	live.Object["status"] = map[string]any{"full": true}
	if live, err = boxes.UpdateStatus(ctx, live, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if live, err = boxes.Apply(ctx, "one", box(7), metav1.ApplyOptions{FieldManager: "go", Force: true}); err != nil {
		return err
	}
	if err := all(want("color", color, "red"), want("generation", live.GetGeneration(), 2)); err != nil {
		return err
	}
	if err := boxes.Delete(ctx, "one", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return eventually(ctx, "all events", func() error { return told.are(1, 2, 1) })
}

// controllerWithWorkqueue copies each ConfigMap with a label into one that it owns.
func controllerWithWorkqueue(ctx context.Context, w *world) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	defer queue.ShutDown()
	factory := informers.NewSharedInformerFactoryWithOptions(w.kube, 0, informers.WithNamespace(w.namespace))
	informer := factory.Core().V1().ConfigMaps()
	enqueue := func(item any) {
		if accessor, err := meta.Accessor(item); err == nil && accessor.GetLabels()["copy"] == "me" {
			queue.Add(accessor.GetName())
		}
	}
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, item any) { enqueue(item) }}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	maps := w.kube.CoreV1().ConfigMaps(w.namespace)
	reconcile := func(name string) error {
		source, err := informer.Lister().ConfigMaps(w.namespace).Get(name)
		if err != nil {
			return err
		}
		copied := configMap(name+"-copy", source.Data)
		copied.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(source, corev1.SchemeGroupVersion.WithKind("ConfigMap"))}
		live, err := informer.Lister().ConfigMaps(w.namespace).Get(copied.Name)
		if apierrors.IsNotFound(err) {
			_, err = maps.Create(ctx, copied, metav1.CreateOptions{})
			return err
		}
		if err != nil {
			return err
		}
		copied.ResourceVersion = live.ResourceVersion
		_, err = maps.Update(ctx, copied, metav1.UpdateOptions{})
		return err
	}
	for range 2 {
		go func() {
			for {
				name, closed := queue.Get()
				if closed {
					return
				}
				if reconcile(name) == nil {
					queue.Forget(name)
				} else {
					queue.AddRateLimited(name)
				}
				queue.Done(name)
			}
		}()
	}
	for i := range 10 {
		source := configMap(fmt.Sprintf("source-%d", i), map[string]string{"turn": "1"})
		source.Labels = map[string]string{"copy": "me"}
		if _, err := maps.Create(ctx, source, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	for i := range 10 {
		if _, err := maps.Patch(ctx, fmt.Sprintf("source-%d", i), types.MergePatchType, []byte(`{"data":{"turn":"2"}}`), metav1.PatchOptions{}); err != nil {
			return err
		}
	}
	return eventually(ctx, "every copy is up to date", func() error {
		for i := range 10 {
			copied, err := maps.Get(ctx, fmt.Sprintf("source-%d-copy", i), metav1.GetOptions{})
			if err != nil {
				return err
			}
			if err := all(want("data", copied.Data["turn"], "2"), want("owner", metav1.GetControllerOf(copied).Name, fmt.Sprintf("source-%d", i))); err != nil {
				return err
			}
		}
		return nil
	})
}

func leaderElection(ctx context.Context, w *world) error {
	leads := make(chan string, 4)
	candidate := func(name string) context.CancelFunc {
		ctx, cancel := context.WithCancel(ctx)
		lock := &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Name: "election", Namespace: w.namespace},
			Client: w.kube.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: name}}
		go leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{Lock: lock, ReleaseOnCancel: true,
			LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: 200 * time.Millisecond,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) { leads <- name; <-ctx.Done() }, OnStoppedLeading: func() {}}})
		return cancel
	}
	next := func() (string, error) {
		select {
		case name := <-leads:
			return name, nil
		case <-time.After(patience):
			return "", fmt.Errorf("nobody leads")
		}
	}
	candidates := map[string]context.CancelFunc{"a": candidate("a"), "b": candidate("b")}
	first, err := next()
	if err != nil {
		return err
	}
	candidates[first]()
	second, err := next()
	if err != nil {
		return err
	}
	lease, err := w.kube.CoordinationV1().Leases(w.namespace).Get(ctx, "election", metav1.GetOptions{})
	candidates[second]()
	if err != nil {
		return err
	}
	// The lease of who let go counts as a transition too.
	return all(want("the second leader is another", second != first, true), want("holder", *lease.Spec.HolderIdentity, second),
		want("transitions", *lease.Spec.LeaseTransitions >= 1, true))
}

func eventRecorders(ctx context.Context, w *world) error {
	about, err := w.kube.CoreV1().ConfigMaps(w.namespace).Create(ctx, configMap("about", nil), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	old := record.NewBroadcaster(record.WithContext(ctx))
	defer old.Shutdown()
	sink := old.StartRecordingToSink(&eventSink{ctx, w})
	defer sink.Stop()
	recorder := old.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "clients"})
	for range 3 {
		recorder.Event(about, corev1.EventTypeNormal, "Repeated", "again and again")
	}
	recent := events.NewBroadcaster(&events.EventSinkImpl{Interface: w.kube.EventsV1()})
	defer recent.Shutdown()
	if err := recent.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	recent.NewRecorder(scheme.Scheme, "example.com/clients").Eventf(about, nil, corev1.EventTypeWarning, "Recent", "Testing", "number %d", 1)
	return eventually(ctx, "all events", func() error {
		list, err := w.kube.CoreV1().Events(w.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=about"})
		if err != nil {
			return err
		}
		counts := map[string]int32{}
		for _, event := range list.Items {
			counts[event.Reason] = max(event.Count, 1)
		}
		return want("counts", counts, map[string]int32{"Repeated": 3, "Recent": 1})
	})
}

// eventSink writes events as core/v1.
type eventSink struct {
	ctx context.Context
	w   *world
}

func (s *eventSink) Create(event *corev1.Event) (*corev1.Event, error) {
	return s.w.kube.CoreV1().Events(event.Namespace).Create(s.ctx, event, metav1.CreateOptions{})
}

func (s *eventSink) Update(event *corev1.Event) (*corev1.Event, error) {
	return s.w.kube.CoreV1().Events(event.Namespace).Update(s.ctx, event, metav1.UpdateOptions{})
}

func (s *eventSink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	return s.w.kube.CoreV1().Events(event.Namespace).Patch(s.ctx, event.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{})
}

// partialObjects asks for what printers and garbage collectors ask for, in protobuf where it exists.
func partialObjects(ctx context.Context, w *world) error {
	if _, err := w.kube.CoreV1().ConfigMaps(w.namespace).Create(ctx, configMap("partial", nil), metav1.CreateOptions{}); err != nil {
		return err
	}
	client := w.kube.CoreV1().RESTClient()
	path := "/api/v1/namespaces/" + w.namespace + "/configmaps"
	for accept, kind := range map[string]string{
		protobufType + ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1": protobufType,
		jsonType + ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1":     jsonType,
		jsonType + ";as=Table;g=meta.k8s.io;v=v1":                         jsonType,
	} {
		var answered string
		raw, err := client.Get().AbsPath(path).SetHeader("Accept", accept).Do(ctx).ContentType(&answered).Raw()
		if err != nil {
			return fmt.Errorf("%s: %w", accept, err)
		}
		if err := want("content type for "+accept, answered, kind); err != nil {
			return err
		}
		if len(raw) < 50 {
			return fmt.Errorf("%s: %q", accept, raw)
		}
	}
	return nil
}
