package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1apply "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/util/retry"
	"k8s.io/kube-openapi/pkg/util/proto"
)

func discoveryAndMapping(ctx context.Context, w *world) error {
	client, err := discovery.NewDiscoveryClientForConfig(w.protobuf)
	if err != nil {
		return err
	}
	version, err := client.ServerVersion()
	if err != nil {
		return err
	}
	groups, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		return err
	}
	preferred, err := client.ServerPreferredNamespacedResources()
	if err != nil {
		return err
	}
	// Without aggregated discovery, one document a group and version, as older clients ask.
	for _, list := range lists {
		one, err := client.WithLegacy().ServerResourcesForGroupVersion(list.GroupVersion)
		if err != nil {
			return err
		}
		if err := want("resources of "+list.GroupVersion, len(one.APIResources), len(list.APIResources)); err != nil {
			return err
		}
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client))
	mapping, err := mapper.RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"})
	if err != nil {
		return err
	}
	paths, err := client.OpenAPIV3().Paths()
	if err != nil {
		return err
	}
	document, err := paths["apis/apps/v1"].Schema(runtime.ContentTypeJSON)
	if err != nil {
		return fmt.Errorf("openapi v3: %w", err)
	}
	swagger, err := client.OpenAPISchema()
	if err != nil {
		return fmt.Errorf("openapi v2: %w", err)
	}
	models, err := proto.NewOpenAPIData(swagger)
	if err != nil {
		return fmt.Errorf("models of openapi v2: %w", err)
	}
	pods, known := models.LookupModel("io.k8s.api.core.v1.Pod").(*proto.Kind)
	if !known || pods.Fields["spec"] == nil || pods.GetExtensions()["x-kubernetes-group-version-kind"] == nil {
		return fmt.Errorf("pods are %v", pods)
	}
	if len(models.ListModels()) < 500 || len(document) < 10_000 || len(preferred) < 10 || len(groups) < 15 {
		return fmt.Errorf("little of it: %d bytes, %d groups", len(document), len(groups))
	}
	return all(want("minor version", version.Minor, "34"), want("resource", mapping.Resource.Resource, "deployments"))
}

func template(labels map[string]string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: "registry.example/main:1",
			Ports:     []corev1.ContainerPort{{ContainerPort: 8080}},
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("0.1")}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
				HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromString("web")}}},
		}}},
	}
}

func deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	replicas := int32(2)
	pods := template(labels)
	pods.Spec.Containers[0].Ports[0].Name = "web"
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: pods},
	}
}

func typedLife(ctx context.Context, w *world) error {
	secrets := w.kube.CoreV1().Secrets(w.namespace)
	secret, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "made-"},
		Data:       map[string][]byte{"bytes": {0, 1, 254, 255}},
		StringData: map[string]string{"text": "ü"},
	}, metav1.CreateOptions{FieldManager: "typed"})
	if err != nil {
		return err
	}
	if err := all(
		want("data", secret.Data, map[string][]byte{"bytes": {0, 1, 254, 255}, "text": []byte("ü")}),
		want("type", secret.Type, corev1.SecretTypeOpaque),
		want("manager", secret.ManagedFields[0].Manager, "typed"),
		want("prefix", strings.HasPrefix(secret.Name, "made-") && len(secret.Name) == len("made-")+5, true),
	); err != nil {
		return err
	}
	deployments := w.kube.AppsV1().Deployments(w.namespace)
	made, err := deployments.Create(ctx, deployment("typed"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	container := made.Spec.Template.Spec.Containers[0]
	if err := all(
		want("request", container.Resources.Requests.Cpu(), "100m"),
		want("port of the probe", container.ReadinessProbe.HTTPGet.Port.String(), "web"),
		want("pull policy", container.ImagePullPolicy, corev1.PullIfNotPresent),
		want("surge", made.Spec.Strategy.RollingUpdate.MaxSurge, "25%"),
		want("generation", made.Generation, 1),
	); err != nil {
		return err
	}
	// The same object in both encodings.
	plain, err := kubernetes.NewForConfig(w.config)
	if err != nil {
		return err
	}
	fromJSON, err := plain.AppsV1().Deployments(w.namespace).Get(ctx, "typed", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !equal(fromJSON, made) {
		return fmt.Errorf("protobuf says %v, JSON %v", made, fromJSON)
	}
	dry, err := deployments.Create(ctx, deployment("dry"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return err
	}
	if _, err := deployments.Get(ctx, "dry", metav1.GetOptions{}); !apierrors.IsNotFound(err) || dry.UID == "" {
		return fmt.Errorf("after a dry run: %v", err)
	}
	made.Status.ObservedGeneration, made.Status.Replicas = 1, 2
	if made, err = deployments.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := want("status", made.Status.Replicas, 2); err != nil {
		return err
	}
	other := types.UID("00000000-0000-0000-0000-000000000000")
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}
	if err := deployments.Delete(ctx, "typed", options); !apierrors.IsConflict(err) {
		return fmt.Errorf("deletion with another UID: %v", err)
	}
	orphan := metav1.DeletePropagationBackground
	if err := deployments.Delete(ctx, "typed", metav1.DeleteOptions{PropagationPolicy: &orphan}); err != nil {
		return err
	}
	return secrets.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=" + secret.Name})
}

func equal(a, b runtime.Object) bool {
	one, errOne := runtime.DefaultUnstructuredConverter.ToUnstructured(a)
	two, errTwo := runtime.DefaultUnstructuredConverter.ToUnstructured(b)
	return errOne == nil && errTwo == nil && fmt.Sprint(one) == fmt.Sprint(two)
}

func typedErrors(ctx context.Context, w *world) error {
	maps := w.kube.CoreV1().ConfigMaps(w.namespace)
	if _, err := maps.Get(ctx, "nothing", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("get of nothing: %v", err)
	}
	if _, err := maps.Create(ctx, configMap("twice", nil), metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := maps.Create(ctx, configMap("twice", nil), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("second creation: %v", err)
	}
	stale := configMap("twice", map[string]string{"a": "b"})
	stale.ResourceVersion = "1"
	if _, err := maps.Update(ctx, stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		return fmt.Errorf("stale update: %v", err)
	}
	wrong := deployment("wrong")
	wrong.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"other": "label"}}
	_, err := w.kube.AppsV1().Deployments(w.namespace).Create(ctx, wrong, metav1.CreateOptions{})
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return fmt.Errorf("invalid deployment: %v", err)
	}
	if err := want("field", status.Status().Details.Causes[0].Field, "spec.template.metadata.labels"); err != nil {
		return err
	}
	if _, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "a in ("}); !apierrors.IsBadRequest(err) {
		return fmt.Errorf("bad selector: %v", err)
	}
	if _, err := maps.List(ctx, metav1.ListOptions{Limit: 1, Continue: "nonsense"}); !apierrors.IsBadRequest(err) {
		return fmt.Errorf("bad token: %v", err)
	}
	if _, err := w.kube.CoreV1().ConfigMaps("no-such-namespace").Create(ctx, configMap("a", nil), metav1.CreateOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("creation in no namespace: %v", err)
	}
	as := rest.CopyConfig(w.protobuf)
	as.Impersonate = rest.ImpersonationConfig{UserName: "somebody", Groups: []string{"some"}}
	somebody, err := kubernetes.NewForConfig(as)
	if err != nil {
		return err
	}
	if _, err := somebody.CoreV1().Secrets(w.namespace).List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		return fmt.Errorf("list as somebody: %v", err)
	}
	anonymous := rest.AnonymousClientConfig(w.protobuf)
	anonymous.BearerToken = "no.such.token"
	nobody, err := kubernetes.NewForConfig(anonymous)
	if err != nil {
		return err
	}
	if _, err := nobody.CoreV1().Secrets(w.namespace).List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		return fmt.Errorf("list with a wrong token: %v", err)
	}
	return nil
}

func listsInPages(ctx context.Context, w *world) error {
	maps := w.kube.CoreV1().ConfigMaps(w.namespace)
	for i := 0; i < 25; i++ {
		object := configMap(fmt.Sprintf("page-%02d", i), nil)
		object.Labels = map[string]string{"paged": "yes"}
		if _, err := maps.Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	pages, names := 0, map[string]bool{}
	reader := pager.New(pager.SimplePageFunc(func(options metav1.ListOptions) (runtime.Object, error) {
		pages++
		return maps.List(ctx, options)
	}))
	reader.PageSize = 10
	err := reader.EachListItem(ctx, metav1.ListOptions{LabelSelector: "paged=yes"}, func(object runtime.Object) error {
		names[object.(*corev1.ConfigMap).Name] = true
		return nil
	})
	if err != nil {
		return err
	}
	cached, err := maps.List(ctx, metav1.ListOptions{ResourceVersion: "0", LabelSelector: "paged=yes"})
	if err != nil {
		return err
	}
	fresh, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	same := metav1.ListOptions{ResourceVersion: fresh.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact, LabelSelector: "paged=yes"}
	if err := maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "paged=yes"}); err != nil {
		return err
	}
	before, err := maps.List(ctx, same)
	if err != nil {
		return err
	}
	return all(want("pages", pages, 3), want("items", len(names), 25), want("cached", len(cached.Items) <= 25, true),
		want("items at the revision before", len(before.Items), 25))
}

func retriesOnConflict(ctx context.Context, w *world) error {
	maps := w.kube.CoreV1().ConfigMaps(w.namespace)
	if _, err := maps.Create(ctx, configMap("counter", nil), metav1.CreateOptions{}); err != nil {
		return err
	}
	const writers = 8
	backoff := retry.DefaultRetry
	backoff.Steps, backoff.Cap = 40, time.Second
	results := make([]error, writers)
	var group sync.WaitGroup
	for i := range results {
		group.Add(1)
		go func() {
			defer group.Done()
			results[i] = retry.RetryOnConflict(backoff, func() error {
				object, err := maps.Get(ctx, "counter", metav1.GetOptions{})
				if err != nil {
					return err
				}
				if object.Data == nil {
					object.Data = map[string]string{}
				}
				object.Data[fmt.Sprint(i)] = "here"
				_, err = maps.Update(ctx, object, metav1.UpdateOptions{})
				return err
			})
		}()
	}
	group.Wait()
	if err := all(results...); err != nil {
		return err
	}
	object, err := maps.Get(ctx, "counter", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return want("writers that are in it", len(object.Data), writers)
}

func patches(ctx context.Context, w *world) error {
	deployments := w.kube.AppsV1().Deployments(w.namespace)
	if _, err := deployments.Create(ctx, deployment("patched"), metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, patch := range []struct {
		kind types.PatchType
		text string
	}{
		{types.JSONPatchType, `[{"op":"test","path":"/spec/replicas","value":2},{"op":"replace","path":"/spec/replicas","value":3}]`},
		{types.MergePatchType, `{"metadata":{"annotations":{"merged":"yes"}}}`},
		{types.StrategicMergePatchType, `{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"registry.example/side:1"}]}}}}`},
	} {
		if _, err := deployments.Patch(ctx, "patched", patch.kind, []byte(patch.text), metav1.PatchOptions{}); err != nil {
			return err
		}
	}
	failing := []byte(`[{"op":"test","path":"/spec/replicas","value":9}]`)
	if _, err := deployments.Patch(ctx, "patched", types.JSONPatchType, failing, metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		return fmt.Errorf("a test that fails: %v", err)
	}
	object, err := deployments.Get(ctx, "patched", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return all(want("replicas", *object.Spec.Replicas, 3), want("annotations", object.Annotations, map[string]string{"merged": "yes"}),
		want("containers", len(object.Spec.Template.Spec.Containers), 2))
}

func applyConfigurations(ctx context.Context, w *world) error {
	maps := w.kube.CoreV1().ConfigMaps(w.namespace)
	desired := corev1apply.ConfigMap("applied", w.namespace).WithData(map[string]string{"a": "1", "b": "2"})
	if _, err := maps.Apply(ctx, desired, metav1.ApplyOptions{FieldManager: "one"}); err != nil {
		return err
	}
	rival := corev1apply.ConfigMap("applied", w.namespace).WithData(map[string]string{"a": "other"})
	_, err := maps.Apply(ctx, rival, metav1.ApplyOptions{FieldManager: "two"})
	if !apierrors.IsConflict(err) {
		return fmt.Errorf("a field of another manager: %v", err)
	}
	if _, err := maps.Apply(ctx, rival, metav1.ApplyOptions{FieldManager: "two", Force: true}); err != nil {
		return err
	}
	live, err := maps.Get(ctx, "applied", metav1.GetOptions{})
	if err != nil {
		return err
	}
	owned, err := corev1apply.ExtractConfigMap(live, "one")
	if err != nil {
		return err
	}
	if err := all(want("data", live.Data, map[string]string{"a": "other", "b": "2"}), want("what one still owns", owned.Data, map[string]string{"b": "2"})); err != nil {
		return err
	}
	labels := map[string]string{"app": "applied"}
	spec := appsv1apply.Deployment("applied", w.namespace).WithSpec(appsv1apply.DeploymentSpec().
		WithSelector(metav1apply.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(corev1apply.PodTemplateSpec().WithLabels(labels).WithSpec(corev1apply.PodSpec().
			WithContainers(corev1apply.Container().WithName("main").WithImage("registry.example/main:1")))))
	deployments := w.kube.AppsV1().Deployments(w.namespace)
	first, err := deployments.Apply(ctx, spec, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	second, err := deployments.Apply(ctx, spec, metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	status, err := deployments.ApplyStatus(ctx, appsv1apply.Deployment("applied", w.namespace).
		WithStatus(appsv1apply.DeploymentStatus().WithReplicas(4)), metav1.ApplyOptions{FieldManager: "status"})
	if err != nil {
		return err
	}
	return all(want("version after the same again", second.ResourceVersion, first.ResourceVersion), want("replicas", status.Status.Replicas, 4))
}

func subresources(ctx context.Context, w *world) error {
	deployments := w.kube.AppsV1().Deployments(w.namespace)
	if _, err := deployments.Create(ctx, deployment("scaled"), metav1.CreateOptions{}); err != nil {
		return err
	}
	scale, err := deployments.GetScale(ctx, "scaled", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := all(want("scale", scale.Spec, autoscalingv1.ScaleSpec{Replicas: 2}), want("selector", scale.Status.Selector, "app=scaled")); err != nil {
		return err
	}
	scale.Spec.Replicas = 5
	if scale, err = deployments.UpdateScale(ctx, "scaled", scale, metav1.UpdateOptions{}); err != nil {
		return err
	}
	pods := w.kube.CoreV1().Pods(w.namespace)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "evicted"}, Spec: template(nil).Spec}
	pod.Spec.Containers[0].ReadinessProbe = nil
	pod.Spec.ServiceAccountName = "default"
	// The service account of a new namespace takes a moment.
	if err := eventually(ctx, "a pod", func() error {
		_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		return err
	}); err != nil {
		return err
	}
	bound := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "evicted"}, Target: corev1.ObjectReference{Kind: "Node", Name: "some-node"}}
	if err := pods.Bind(ctx, bound, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("binding: %w", err)
	}
	live, err := pods.Get(ctx, "evicted", metav1.GetOptions{})
	if err != nil {
		return err
	}
	live.Status.Phase = corev1.PodRunning
	if live, err = pods.UpdateStatus(ctx, live, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "evicted"}}); err != nil {
		return fmt.Errorf("eviction: %w", err)
	}
	now := int64(0)
	if err := pods.Delete(ctx, "evicted", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return all(want("scaled to", scale.Spec.Replicas, 5), want("node", live.Spec.NodeName, "some-node"), want("phase", live.Status.Phase, "Running"))
}

func reviews(ctx context.Context, w *world) error {
	access, err := w.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "create", Resource: "pods"}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	who, err := w.kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	accounts := w.kube.CoreV1().ServiceAccounts(w.namespace)
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	token, err := accounts.CreateToken(ctx, "robot", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(w.protobuf)
	config.BearerToken = token.Status.Token
	robot, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	self, err := robot.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	review, err := w.kube.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token.Status.Token},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	name := "system:serviceaccount:" + w.namespace + ":robot"
	return all(want("allowed", access.Status.Allowed, true), want("group", contains(who.Status.UserInfo.Groups, "system:masters"), true),
		want("the robot", self.Status.UserInfo.Username, name), want("reviewed", review.Status.User.Username, name))
}
