// What a schema of a CustomResourceDefinition may hold, as far as this folder writes it. Types only.

/** `apiextensions.k8s.io/v1` ValidationRule; one of the two messages. */
export interface Validation {
  /** CEL; `self` is the value at this place. */
  readonly rule: string;
  readonly message?: string;
  /** CEL that gives the message. */
  readonly messageExpression?: string;
  readonly reason?: 'FieldValueRequired' | 'FieldValueForbidden' | 'FieldValueInvalid';
  /** Of a part of `self`, such as `.to`. */
  readonly fieldPath?: string;
}

/** `apiextensions.k8s.io/v1` JSONSchemaProps. */
export interface Schema {
  readonly description?: string;
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'boolean';
  readonly format?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly oneOf?: readonly { readonly required: readonly string[] }[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly 'x-kubernetes-preserve-unknown-fields'?: true;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-map-type'?: 'atomic';
  readonly 'x-kubernetes-validations'?: readonly Validation[];
}
