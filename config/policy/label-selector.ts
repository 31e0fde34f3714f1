// Kubernetes label selectors (meta/v1 LabelSelector): parsed objects in, yes or no out.
// An empty selector selects everything; that there is a selector at all is the caller's to know.

export interface LabelExpression {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly matchExpressions: readonly LabelExpression[];
}

/** Every label and every expression must hold. */
export function selectorMatches(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  return (
    Object.entries(selector.matchLabels).every(([key, value]) => labelValue(labels, key) === value) &&
    selector.matchExpressions.every(expression => expressionHolds(expression, labels))
  );
}

/** `NotIn` and `DoesNotExist` hold for a label that is absent, as in Kubernetes. */
function expressionHolds(expression: LabelExpression, labels: Readonly<Record<string, string>>): boolean {
  const value = labelValue(labels, expression.key);
  switch (expression.operator) {
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'In':
      return value !== undefined && expression.values.includes(value);
    case 'NotIn':
      return value === undefined || !expression.values.includes(value);
  }
}

/** Labels come from outside; `constructor` is not one that every object has. */
function labelValue(labels: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}
